//! Accounts of their own: made, switched to, and deleted after a while in which that can be called off.

use listbackup_engine::{
    model::{Account, AccountId},
    ports::Condition,
    run::account_end,
    store::{key1, put},
};
use serde_json::{Value, json};

use crate::kit::{App, Person, client::Caller, token};

/// Works in an account by switching to it.
async fn switched(app: &App, person: &Person, account_id: &str) -> Caller {
    let signed_in = app.login(&person.email, None).await;
    let body = json!({ "refresh_token": signed_in.expect(200)["refresh_token"] });
    let answer = person.caller.post(&format!("/accounts/{account_id}/switch"), &body).await;
    assert_eq!(answer.expect(200)["account_id"], account_id);
    person.caller.with_token(token(answer.expect(200)))
}

/// As if the deletion had been asked for long ago.
async fn its_grace_is_over(app: &App, account_id: AccountId) {
    let mut account = app.store.get::<Account>(&app.system, key1(account_id)).await.unwrap();
    let ending = account.row.ending.as_mut().unwrap();
    ending.ends_at = app.ports.clock.now();
    account.row.ends_ms = Some(ending.ends_at.as_millisecond());
    let write = put(&account.row, Condition::Version(account.version)).unwrap();
    app.store.transact(&app.system, vec![write]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_makes_another_account_of_their_own_and_works_there_after_switching() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let made = ada.caller.post("/accounts", &json!({ "name": "Side business" })).await;
    let id = made.expect(201)["id"].as_str().unwrap().to_owned();
    assert_eq!(made.expect(201)["parent_id"], Value::Null);
    ada.caller.get(&format!("/accounts/{id}")).await.expect(404);

    let there = switched(&app, &ada, &id).await;
    let me = there.get("/auth/me").await;
    assert_eq!((&me.expect(200)["account_id"], &me.expect(200)["role"]), (&json!(id), &json!("owner")));
    let kinds: Vec<Value> = there.get("/activity").await.expect(200)["items"].as_array().unwrap().clone();
    let kinds: Vec<&str> = kinds.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["user.signed_in", "member.added", "account.created"]);
    let accounts = ada.caller.get("/auth/accounts").await.expect(200)["items"].as_array().unwrap().len();
    assert_eq!(accounts, 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_switches_to_an_account_of_others_or_with_the_token_of_somebody_else() {
    let app = App::start().await;
    let (ada, eve) = (app.person("ada").await, app.person("eve").await);
    let hers = json!({ "refresh_token": app.login(&ada.email, None).await.expect(200)["refresh_token"] });
    let own = json!({ "refresh_token": app.login(&eve.email, None).await.expect(200)["refresh_token"] });
    eve.caller.post(&format!("/accounts/{}/switch", ada.account_id), &own).await.expect(404);
    eve.caller.post(&format!("/accounts/{}/switch", eve.account_id), &hers).await.expect(422);
    let unknown = json!({ "refresh_token": "lbr_unknown" });
    eve.caller.post(&format!("/accounts/{}/switch", eve.account_id), &unknown).await.expect(422);
    // Neither was used up by that.
    eve.caller.post(&format!("/accounts/{}/switch", eve.account_id), &own).await.expect(200);
    ada.caller.post(&format!("/accounts/{}/switch", ada.account_id), &hers).await.expect(200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_accounts_that_are_made_at_once_nobody_gets_more_than_they_may_own() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let name = json!({ "name": "Another" });
    for _ in 0..47 {
        ada.caller.post("/accounts", &name).await.expect(201);
    }
    let at_once = (0..8).map(|_| ada.caller.post("/accounts", &name));
    let answers = futures::future::join_all(at_once).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 2);
    assert!(answers.iter().all(|answer| [201, 409].contains(&answer.status)));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_announced_by_an_owner_and_can_be_called_off() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let path = format!("/accounts/{}", ada.account_id);
    let announced = ada.caller.delete(&path).await;
    let deletion = &announced.expect(202)["deletion"];
    assert_eq!(deletion["by"], ada.user_id.to_string());
    assert_eq!(deletion["is_held"], false);
    assert_eq!(ada.caller.delete(&path).await.expect(202)["deletion"], *deletion, "asked again, nothing changes");
    assert_eq!(ada.caller.get(&path).await.expect(200)["deletion"], *deletion);
    ada.caller.post(&format!("{path}/children"), &json!({ "name": "Late" })).await.expect(409);

    let kept = ada.caller.delete(&format!("{path}/deletion")).await;
    assert_eq!(kept.expect(200)["deletion"], Value::Null);
    ada.caller.delete(&format!("{path}/deletion")).await.expect(200);
    let below = ada.caller.post(&format!("{path}/children"), &json!({ "name": "In time" })).await;
    ada.caller.delete(&path).await.expect(409);
    ada.caller.delete(&format!("/accounts/{}", below.expect(201)["id"].as_str().unwrap())).await.expect(202);
    ada.caller.delete(&path).await.expect(202);
    for (kind, count) in [("account.deletion_announced", 2), ("account.deletion_called_off", 1)] {
        let told = ada.caller.get(&format!("/activity?kind={kind}")).await;
        assert_eq!(told.expect(200)["items"].as_array().unwrap().len(), count, "{kind}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_grace_a_deleted_account_is_gone_for_everybody_and_the_one_above_is_told() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let made = ada.caller.post(&format!("/accounts/{}/children", ada.account_id), &json!({ "name": "Shop" })).await;
    let id = made.expect(201)["id"].as_str().unwrap().to_owned();
    let account_id: AccountId = id.parse().unwrap();
    let key = switched(&app, &ada, &id).await.post("/auth/keys", &json!({ "name": "program", "role": "viewer" })).await;
    let program = ada.caller.with_token(key.expect(201)["secret"].as_str().unwrap().to_owned());
    program.get("/sources").await.expect(200);
    ada.caller.delete(&format!("/accounts/{id}")).await.expect(202);
    assert_eq!(account_end::end_due(app.ctx()).await.unwrap(), 0, "not yet");
    program.get("/sources").await.expect(200);

    its_grace_is_over(&app, account_id).await;
    for _ in 0..3 {
        account_end::end_due(app.ctx()).await.unwrap();
    }
    let letters = app.letters_to(&ada.email);
    let told = letters.iter().filter(|letter| letter.contains("Subject: The account Shop was deleted"));
    assert_eq!(told.count(), 1, "its owner, by the account above");
    let keys = app.ctx().snapshots.stored_keys(&app.system.account(account_id)).await.unwrap();
    assert!(keys.destruction.is_some() && keys.epochs.is_empty());
    let ada = ada.caller.with_token(token(app.login(&ada.email, None).await.expect(200)));
    ada.get(&format!("/accounts/{id}")).await.expect(404);
    program.get("/sources").await.expect(401);
    let told = ada.get("/activity?kind=account.deleted").await;
    assert_eq!(told.expect(200)["items"][0]["details"], json!({ "accountId": id, "name": "Shop" }));
    app.stop().await;
}
