//! Letters about what is not as it should be: of which kinds, and to whom.

use listbackup_engine::{
    model::{AccountId, ActivityKind, Role, SourceId},
    run::{
        alerts,
        event::{self, Subject},
        relay::Relay,
    },
};
use serde_json::{Map, Value, json};

use crate::{
    families::child,
    kit::{App, Person},
    webhooks::{self, receiver::Receiver},
};

/// Something happens to a source of an account.
async fn happens(app: &App, account_id: AccountId, kind: ActivityKind, source_id: SourceId, details: Value) {
    let Value::Object(details) = details else { panic!("details are an object") };
    let told = event::event(&app.ports, account_id, kind, event::SYSTEM, Subject::source(source_id), details);
    app.store.transact(&app.system.account(account_id), vec![event::keep(&told).unwrap()]).await.unwrap();
}

/// Has all letters sent that what happened so far asks for.
async fn sent(app: &App, person: &Person) {
    webhooks::settled(app, person).await;
    Relay::default().look(&app.ports, &app.system).await.unwrap();
    while alerts::look(app.ctx()).await.unwrap().attempts > 0 {}
}

/// Letters to somebody with these words in their subject.
fn letters(app: &App, to: &Person, words: &str) -> usize {
    let has = |letter: &&String| letter.lines().any(|line| line.starts_with("Subject:") && line.contains(words));
    app.letters_to(&to.email).iter().filter(has).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_tells_owners_and_administrators_and_nobody_else_once_an_hour() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let (bob, eve) = (app.member("bob", &ada, Role::Admin).await, app.member("eve", &ada, Role::Viewer).await);
    let (joe, mia) = (app.member("joe", &ada, Role::Operator).await, app.member("mia", &ada, Role::Admin).await);
    assert_eq!(mia.caller.get("/auth/me").await.expect(200)["alerts"], true);
    assert_eq!(mia.caller.patch("/auth/me", &json!({ "alerts": false })).await.expect(200)["alerts"], false);
    assert_eq!(mia.caller.patch("/auth/me", &json!({ "name": "Mia" })).await.expect(200)["alerts"], false);
    let shop = app.source(&ada, "Shop").await;
    for number in 0..5 {
        let error = json!({ "error": { "code": "retry", "message": format!("nobody answered {number}") } });
        happens(&app, ada.account_id, ActivityKind::RunFailed, shop, error).await;
    }
    sent(&app, &ada).await;
    let told = [&ada, &bob, &eve, &joe, &mia].map(|person| letters(&app, person, "The backup of Shop failed"));
    assert_eq!(told, [1, 1, 0, 0, 0]);
    assert!(app.letters_to(&ada.email).iter().any(|letter| letter.contains("nobody answered")));

    // A role in an account above holds below, unless a nearer one lowers it.
    let north: AccountId = child(&ada.caller, &ada.account_id.to_string(), "North").await.parse().unwrap();
    let lowered = json!({ "role": "viewer" });
    ada.caller.patch(&format!("/accounts/{north}/members/{}", bob.user_id), &lowered).await.expect(200);
    mia.caller.patch("/auth/me", &json!({ "alerts": true })).await.expect(200);
    let there = Person { account_id: north, caller: ada.caller.clone(), email: ada.email.clone(), ..ada };
    let store = app.source(&there, "Store").await;
    happens(&app, north, ActivityKind::RunFailed, store, json!({})).await;
    sent(&app, &ada).await;
    let told = [&ada, &bob, &eve, &joe, &mia].map(|person| letters(&app, person, "The backup of Store failed"));
    assert_eq!(told, [1, 0, 0, 0, 1]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_trouble_has_its_letter_and_a_failed_restore_has_none() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let shop = app.source(&ada, "Shop").await;
    let lacks = json!({ "streams": { "contacts": { "removed": 300, "before": 1000 } } });
    let kinds = [
        (
            ActivityKind::RunPartial,
            json!({ "error": { "code": "retry", "message": "tags" } }),
            "is not complete",
            "tags",
        ),
        (ActivityKind::SnapshotSuspicious, lacks, "looks unlike", "300 of 1000 records of contacts"),
        (ActivityKind::SourceStale, json!({ "streams": [{ "stream": "deals" }] }), "no good backup", "deals"),
        (ActivityKind::SourceAuthorisationLost, json!({ "streams": ["notes"] }), "connected again", "notes"),
    ];
    for (kind, details, ..) in &kinds {
        happens(&app, ada.account_id, *kind, shop, details.clone()).await;
    }
    happens(&app, ada.account_id, ActivityKind::RunFailed, shop, json!({ "restore": {} })).await;
    happens(&app, ada.account_id, ActivityKind::RunSucceeded, shop, Value::Object(Map::new())).await;
    sent(&app, &ada).await;
    for (kind, _, subject, reason) in kinds {
        assert_eq!(letters(&app, &ada, subject), 1, "{kind:?}");
        assert!(app.letters_to(&ada.email).iter().any(|letter| letter.contains(reason)), "{kind:?}");
    }
    assert_eq!(letters(&app, &ada, "Shop"), 4, "of the restore there is none");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_webhook_has_a_letter_that_does_not_tell_its_address() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let receiver = Receiver::start().await;
    receiver.answers(Some("410 Gone"));
    webhooks::webhook(&ada, &receiver.url(), &["key.*"]).await;
    ada.caller.post("/auth/keys", &json!({ "name": "k", "role": "viewer" })).await.expect(201);
    webhooks::settled(&app, &ada).await;
    webhooks::send(app.ctx()).await;
    sent(&app, &ada).await;
    assert_eq!(letters(&app, &ada, "A webhook of ada was turned off"), 1);
    let all = app.letters_to(&ada.email).concat();
    assert!(all.contains("410") && all.contains("127.0.0.1") && !all.contains("path-secret"), "{all}");
    app.stop().await;
}
