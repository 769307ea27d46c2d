//! Who may do what, and that nobody sees another account.

use listbackup::{
    caller::Guard,
    routes::{Route, served},
    state::Service,
};
use listbackup_engine::{
    model::{Membership, Role, role::Action},
    ports::Write,
    store::key,
    tables::{Row, USERS_ACCOUNTS},
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::{
    App, Person,
    client::{Answer, Caller, send},
};

const ROLES: [(Role, &str); 5] = [
    (Role::Owner, "owner"),
    (Role::Admin, "admin"),
    (Role::Operator, "operator"),
    (Role::Viewer, "viewer"),
    (Role::Billing, "billing"),
];

pub fn all_routes() -> Vec<Route> {
    served(&Service::ALL.into_iter().collect())
}

/// Calls a route with ids of things that are well-formed and in no account, and a body that fits.
pub async fn call(route: &Route, caller: &Caller, ids: &Ids) -> Answer {
    let request = caller.request(route.method.as_str().parse::<Method>().unwrap(), &ids.path(route.path));
    send(match body_of(route, ids) {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

/// The things of one account that paths name.
pub struct Ids {
    account: String,
    source: String,
    job: String,
    run: String,
    key: String,
    file: String,
    export: String,
    restore: String,
    snapshot: String,
}

impl Ids {
    /// One of each in a person's account.
    pub async fn of(app: &App, person: &Person) -> Self {
        let source_id = app.source(person, "Shop").await;
        let job = app.job(person, source_id).await;
        let job = job["id"].as_str().unwrap().to_owned();
        let run = person.caller.post(&format!("/jobs/{job}/run"), &json!({})).await;
        let key = person.caller.post("/auth/keys", &json!({ "name": "k", "role": "viewer" })).await;
        let run = run.expect(202)["id"].as_str().unwrap().to_owned();
        Self {
            account: person.account_id.to_string(),
            source: source_id.to_string(),
            job,
            key: key.expect(201)["id"].as_str().unwrap().to_owned(),
            file: format!("file{}", &run[3..]),
            export: format!("exp{}", &run[3..]),
            restore: format!("rst{}", &run[3..]),
            snapshot: format!("snap{}", &run[3..]),
            run,
        }
    }

    fn path(&self, pattern: &str) -> String {
        let id = match pattern.split('/').nth(1).unwrap_or_default() {
            "accounts" => &self.account,
            "sources" => &self.source,
            "jobs" => &self.job,
            "runs" => &self.run,
            "auth" => &self.key,
            _ if pattern.starts_with("/data/files") => &self.file,
            _ if pattern.starts_with("/data/exports") => &self.export,
            _ if pattern.starts_with("/data/restores") => &self.restore,
            _ => &self.snapshot,
        };
        pattern
            .replace("{id}", id)
            .replace("{other}", id)
            .replace("{name}", "sandbox")
            .replace("{user}", "usr_0000000001e40r2081040g2081")
            .replace("{invitation}", "inv_0000000001e40r2081040g2081")
            .replace("{stream}", "contacts")
            .replace("{key}", "1")
    }
}

fn body_of(route: &Route, ids: &Ids) -> Option<Value> {
    Some(match (route.method.as_str(), route.path) {
        ("PATCH", "/accounts/{id}/members/{user}") => json!({ "role": "viewer" }),
        ("PATCH", _) => json!({ "name": "Other" }),
        ("POST", "/auth/keys") => json!({ "name": "k", "role": "viewer" }),
        ("POST", "/sources") => json!({ "name": "s", "integration": "none", "settings": {} }),
        ("POST", "/jobs") => json!({ "source_id": ids.source, "name": "j", "schedule": { "kind": "manual" } }),
        ("POST", "/jobs/schedule/preview") => json!({ "schedule": { "kind": "manual" } }),
        ("POST", "/data/snapshots/{id}/restore") => json!({}),
        ("POST", "/data/exports") => json!({ "snapshot_id": ids.snapshot }),
        ("POST", "/data/snapshots/{id}/pin" | "/data/snapshots/{id}/hold") => json!({ "reason": "r" }),
        ("POST", "/data/snapshots/{id}/verify") => json!({ "level": "structure" }),
        ("POST", "/accounts/{id}/children") => json!({ "name": "Below" }),
        ("POST", "/accounts/{id}/move") => json!({ "parent_id": ids.account }),
        ("POST", "/accounts/{id}/invitations") => json!({ "email": "eve@example.com", "role": "viewer" }),
        // Confirmed for another account: every role is to find the keys here.
        ("POST", "/accounts/{id}/keys/destroy") => {
            json!({ "confirm": "acc_0000000001e40r2081040g2081", "reason": "r" })
        }
        ("POST", "/integrations") => json!({ "name": "own", "manifest": "{}" }),
        ("POST", "/integrations/{name}/oauth/start") => json!({ "source_id": ids.source }),
        _ => return None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_exactly_the_roles_that_its_guard_names() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let ids = Ids::of(&app, &ada).await;
    let nobody = app.nobody();
    for route in all_routes().iter().filter(|route| !matches!(route.guard, Guard::Open | Guard::Operator)) {
        let refused = call(route, &nobody, &ids).await;
        assert_eq!(refused.status, 401, "{} {} without credentials", route.method, route.path);
        assert_eq!(refused.body["code"], "unauthenticated");
    }
    for (role, name) in ROLES {
        let member = app.member(name, &ada, role).await;
        for route in all_routes() {
            let allowed = match route.guard {
                Guard::Open | Guard::Operator => continue,
                // Everybody may leave, and who is named here is somebody else.
                Guard::Member if route.path.ends_with("/members/{user}") => role.allows(Action::Administer),
                Guard::Member | Guard::Person => true,
                Guard::May(action) | Guard::PersonMay(action) => role.allows(action),
            };
            let answer = call(&route, &member.caller, &ids).await;
            let what = format!("{} {} as {name}: {}", route.method, route.path, answer.text);
            assert_eq!(answer.status == 403, !allowed, "{what}");
            assert_ne!(answer.status, 401, "{what}");
            assert_ne!(answer.status, 500, "{what}");
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn things_of_another_account_do_not_exist() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let ids = Ids::of(&app, &ada).await;
    let eve = app.person("eve").await;
    for route in all_routes().iter().filter(|route| route.path.contains("{id}")) {
        let answer = call(route, &eve.caller, &ids).await;
        assert_eq!(answer.status, 404, "{} {}: {}", route.method, route.path, answer.text);
        assert_eq!(answer.body["code"], "not_found");
    }
    // Nothing of Ada's changed, and no list of Eve's shows any of it.
    assert_eq!(ada.caller.get(&format!("/jobs/{}", ids.job)).await.expect(200)["name"], "Nightly");
    let data = ["/data/exports", "/data/files", "/data/restores", "/data/snapshots"];
    for list in ["/sources", "/jobs", "/auth/keys", "/jobs/dead-letters"].into_iter().chain(data) {
        assert_eq!(eve.caller.get(list).await.expect(200)["items"], json!([]), "{list}");
    }
    let by_source = eve.caller.get(&format!("/jobs?source_id={}", ids.source)).await;
    assert_eq!(by_source.expect(200)["items"], json!([]));
    let log = eve.caller.get("/activity").await;
    assert!(!log.text.contains(&ada.account_id.to_string()) && !log.text.contains(&ids.run));
    let body = json!({ "source_id": ids.source, "name": "theft", "schedule": { "kind": "manual" } });
    assert_eq!(eve.caller.post("/jobs", &body).await.pointers(), ["/source_id"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_cannot_be_one_is_not_found() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    for path in ["/sources/1", "/jobs/src_01", "/runs/x'--", "/accounts/acc_", "/data/snapshots/..%2f..", "/nowhere"] {
        assert_eq!(ada.caller.get(path).await.expect(404)["code"], "not_found", "{path}");
    }
    assert_eq!(ada.caller.delete("/sources").await.expect(405)["code"], "method_not_allowed");
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

async fn set_role(app: &App, person: &Person, role: Role) {
    let place = key(person.user_id, person.account_id);
    let mut found = app.store.get::<Membership>(&app.system, place).await.unwrap();
    found.row.role = role;
    let write = listbackup_engine::store::put(&found.row, listbackup_engine::ports::Condition::Any).unwrap();
    app.store.transact(&app.system, vec![write]).await.unwrap();
}

async fn remove(app: &App, person: &Person) {
    assert_eq!(Membership::TABLE.name, USERS_ACCOUNTS.name);
    let delete = Write::Delete {
        table: &USERS_ACCOUNTS,
        key: key(person.user_id, person.account_id),
        condition: listbackup_engine::ports::Condition::Any,
    };
    app.store.transact(&app.system, vec![delete]).await.unwrap();
}
