//! Letters of invitation: nobody is flooded with them.

use futures::future::join_all;
use jiff::{SignedDuration, tz::TimeZone};
use listbackup_engine::{
    accounts::letters_sent::{AGAIN_MAX, LETTERS_A_DAY},
    model::{Account, Invitation, account::InvitedOn},
    ports::Condition,
    store::{key, key1, put},
};
use serde_json::{Value, json};

use crate::kit::{App, Person, client::Answer};

async fn invite(by: &Person, email: &str) -> Answer {
    let invitation = json!({ "email": email, "role": "viewer" });
    by.caller.post(&format!("/accounts/{}/invitations", by.account_id), &invitation).await
}

async fn again(by: &Person, invitation: &Value) -> Answer {
    let path = format!("/accounts/{}/invitations/{}/resend", by.account_id, invitation["id"].as_str().unwrap());
    by.caller.post(&path, &Value::Null).await
}

/// Asserts that this was too much, and returns the seconds to wait.
fn too_much(answer: &Answer) -> u64 {
    assert_eq!(answer.expect(429)["code"], "rate_limited");
    answer.header("retry-after").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_sent_again_five_times_an_hour_however_many_ask_at_one_time() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let bobs = invite(&ada, "bob@example.com").await.expect(201).clone();
    let answers = join_all((0..20).map(|_| again(&ada, &bobs))).await;
    let (sent, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!((sent.len(), refused.len()), (AGAIN_MAX, 20 - AGAIN_MAX), "{answers:?}");
    assert!(refused.into_iter().map(too_much).all(|wait| (3_500..=3_600).contains(&wait)));
    assert_eq!(app.letters_to("bob@example.com").len(), 1 + AGAIN_MAX);

    // Others of the account are sent all the same, and this one an hour after it was sent first.
    let cys = invite(&ada, "cy@example.com").await.expect(201).clone();
    again(&ada, &cys).await.expect(200);
    let place = key(bobs["id"].as_str().unwrap(), ada.account_id);
    let mut found = app.store.get::<Invitation>(&app.system, place).await.unwrap();
    let first = found.row.sent_again_at.iter_mut().min().unwrap();
    *first -= SignedDuration::from_hours(1);
    let older = put(&found.row, Condition::Version(found.version)).unwrap();
    app.store.transact(&app.system, vec![older]).await.unwrap();
    again(&ada, &bobs).await.expect(200);
    too_much(&again(&ada, &bobs).await);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_sends_so_many_letters_of_invitation_a_day_also_by_taking_them_back_and_inviting_anew() {
    let app = App::start().await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    let bobs = invite(&ada, "bob@example.com").await.expect(201).clone();
    let today = app.ports.clock.now().to_zoned(TimeZone::UTC).date();
    let sent_on = async |day, letters| {
        let mut found = app.store.get::<Account>(&app.system, key1(ada.account_id)).await.unwrap();
        assert!(found.row.invited.is_some());
        found.row.invited = Some(InvitedOn { day, letters });
        let write = put(&found.row, Condition::Version(found.version)).unwrap();
        app.store.transact(&app.system, vec![write]).await.unwrap();
    };
    sent_on(today, LETTERS_A_DAY - 2).await;
    again(&ada, &bobs).await.expect(200);
    let path = format!("/accounts/{}/invitations/{}", ada.account_id, bobs["id"].as_str().unwrap());
    let emails: Vec<_> = (0..6).map(|n| format!("guest{n}@example.com")).collect();
    let answers = join_all(emails.iter().map(|email| invite(&ada, email))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
    for refused in answers.iter().filter(|answer| answer.status != 201) {
        assert!((1..=86_400).contains(&too_much(refused)));
    }
    too_much(&again(&ada, &bobs).await);
    ada.caller.delete(&path).await.expect(204);
    too_much(&invite(&ada, "bob@example.com").await);
    // Whatever one account sent, others send theirs, and it goes on on the next day.
    invite(&eve, "bob@example.com").await.expect(201);
    sent_on(today.yesterday().unwrap(), LETTERS_A_DAY).await;
    invite(&ada, "bob@example.com").await.expect(201);
    app.stop().await;
}
