//! Ids, and access keys.

use listbackup_engine::{
    model::{Membership, Role},
    ports::Write,
    store::key,
    tables::{Row, USERS_ACCOUNTS},
};
use serde_json::json;

use crate::kit::{App, Person};

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_cannot_be_one_is_not_found() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    for path in ["/sources/1", "/jobs/src_01", "/runs/x'--", "/accounts/acc_", "/data/snapshots/..%2f..", "/nowhere"] {
        assert_eq!(ada.caller.get(path).await.expect(404)["code"], "not_found", "{path}");
    }
    let wrong = ada.caller.delete("/sources").await;
    assert_eq!(wrong.expect(405)["code"], "method_not_allowed");
    assert_eq!(wrong.header("allow"), "GET, POST");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_key_never_has_more_rights_than_its_owner_has_now() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let bob = app.member("bob", &ada, Role::Admin).await;
    let made = bob.caller.post("/auth/keys", &json!({ "name": "ci", "role": "operator" })).await;
    let secret = made.expect(201)["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("lbk_") && secret.len() >= 47);
    let key = app.nobody().with_token(&secret);
    key.get("/jobs").await.expect(200);
    key.get("/auth/keys").await.expect(403);
    assert!(!bob.caller.get("/auth/keys").await.text.contains(&secret));

    set_role(&app, &bob, Role::Billing).await;
    key.get("/jobs").await.expect(403);
    remove(&app, &bob).await;
    key.get("/jobs").await.expect(401);
    bob.caller.get("/auth/me").await.expect(401);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_key_cannot_make_keys_or_exceed_its_maker() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let bob = app.member("bob", &ada, Role::Admin).await;
    let too_much = bob.caller.post("/auth/keys", &json!({ "name": "root", "role": "owner" })).await;
    assert_eq!(too_much.pointers(), ["/role"]);
    let past = json!({ "name": "old", "role": "viewer", "expires_at": "2001-01-01T00:00:00Z" });
    assert_eq!(bob.caller.post("/auth/keys", &past).await.pointers(), ["/expires_at"]);
    let made = ada.caller.post("/auth/keys", &json!({ "name": "all", "role": "owner" })).await;
    let key = app.nobody().with_token(made.expect(201)["secret"].as_str().unwrap());
    key.get("/auth/keys").await.expect(200);
    key.post("/auth/keys", &json!({ "name": "child", "role": "viewer" })).await.expect(403);
    ada.caller.delete(&format!("/auth/keys/{}", made.body["id"].as_str().unwrap())).await.expect(204);
    key.get("/auth/keys").await.expect(401);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_whoever_runs_the_process() {
    let app = App::start().await;
    app.nobody().get("/metrics").await.expect(200);
    app.nobody().with("X-Forwarded-For", "203.0.113.7").get("/metrics").await.expect(404);
    app.stop().await;
}

pub async fn set_role(app: &App, person: &Person, role: Role) {
    let place = key(person.user_id, person.account_id);
    let mut found = app.store.get::<Membership>(&app.system, place).await.unwrap();
    found.row.role = role;
    let write = listbackup_engine::store::put(&found.row, listbackup_engine::ports::Condition::Any).unwrap();
    app.store.transact(&app.system, vec![write]).await.unwrap();
}

pub async fn remove(app: &App, person: &Person) {
    assert_eq!(Membership::TABLE.name, USERS_ACCOUNTS.name);
    let delete = Write::Delete {
        table: &USERS_ACCOUNTS,
        key: key(person.user_id, person.account_id),
        condition: listbackup_engine::ports::Condition::Any,
    };
    app.store.transact(&app.system, vec![delete]).await.unwrap();
}
