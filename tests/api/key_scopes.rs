//! Access keys that are for some services only.

use listbackup::{
    caller::Guard,
    key_scopes::KeyScope,
    routes::Route,
    state::Service::{self, System},
};
use listbackup_engine::model::AccessKey;
use listbackup_engine::{
    ports::Condition,
    store::{key1, put},
};
use serde_json::{Value, json};

use crate::{
    kit::{App, Person, client::Caller},
    rows::{Ids, all_routes, call},
};

async fn key(app: &App, of: &Person, scopes: &Value) -> (String, Caller) {
    let mut body = json!({ "name": "k", "role": "owner" });
    if !scopes.is_null() {
        body["scopes"] = scopes.clone();
    }
    let made = of.caller.post("/auth/keys", &body).await;
    assert_eq!(&made.expect(201)["scopes"], scopes);
    (made.body["id"].as_str().unwrap().to_owned(), app.nobody().with_token(made.body["secret"].as_str().unwrap()))
}

/// What a scope's words promise of a route, in the words of the documentation.
fn is_for(scope: &str, route: &Route) -> bool {
    let is_looking = route.method == "GET";
    let service = route.service.as_str();
    scope == format!("{service}:write") || (is_looking && scope == format!("{service}:read"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_let_into_exactly_the_routes_that_its_scope_names() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let ids = Ids::of(&app, &ada).await;
    let words: Vec<String> = KeyScope::all().map(|scope| scope.to_string()).collect();
    assert_eq!(words.len(), 2 * (Service::ALL.len() - 1));
    for word in &words {
        let (_, caller) = key(&app, &ada, &json!([word])).await;
        for route in all_routes() {
            if matches!(route.guard, Guard::Open | Guard::Operator) || route.service == System {
                continue;
            }
            // A key is nobody's person, whatever its scopes.
            let is_person = matches!(route.guard, Guard::Person | Guard::PersonMay(_));
            let answer = call(&route, &caller, &ids).await;
            let what = format!("{} {} with {word}: {}", route.method, route.path, answer.text);
            assert_eq!(answer.status == 403, is_person || !is_for(word, &route), "{what}");
            assert!(!matches!(answer.status, 401 | 500), "{what}");
        }
        caller.get("/system/status").await.expect(200);
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_add_up_and_never_to_more_than_the_role_and_without_them_all_is_open() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let (_, both) = key(&app, &ada, &json!(["sources:read", "jobs:write"])).await;
    both.get("/jobs").await.expect(200);
    both.get("/sources").await.expect(200);
    let refused = both.post("/sources", &json!({ "name": "s", "integration": "none", "settings": {} })).await;
    assert!(refused.expect(403)["detail"].as_str().unwrap().contains("sources:write"), "{}", refused.text);
    both.get("/activity").await.expect(403);
    let (_, all) = key(&app, &ada, &Value::Null).await;
    all.get("/activity").await.expect(200);
    let viewer = json!({ "name": "v", "role": "viewer", "scopes": ["jobs:write"] });
    let made = ada.caller.post("/auth/keys", &viewer).await;
    let viewer = app.nobody().with_token(made.expect(201)["secret"].as_str().unwrap());
    viewer.get("/jobs").await.expect(200);
    let body = json!({ "source_id": app.source(&ada, "s").await, "name": "j", "schedule": { "kind": "manual" } });
    viewer.post("/jobs", &body).await.expect(403);
    let listed = ada.caller.get("/auth/keys").await;
    let with_scopes =
        listed.expect(200)["items"].as_array().unwrap().iter().filter(|one| one["scopes"].is_array()).count();
    assert_eq!(with_scopes, 2);
    let told = ada.caller.get("/activity?kind=key.created").await;
    assert!(told.text.contains("sources:read"), "{}", told.text);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_that_there_are_not_are_refused_and_stored_ones_of_another_version_open_nothing() {
    let app = App::start().await;
    let ada = app.person("ada").await;
    let wrong =
        json!({ "name": "", "role": "owner", "scopes": ["jobs:all", "nothing:read", "jobs:read", "system:read"] });
    let refused = ada.caller.post("/auth/keys", &wrong).await;
    assert_eq!(refused.pointers(), ["/name", "/scopes/0", "/scopes/1", "/scopes/3"]);
    let none = json!({ "name": "k", "role": "owner", "scopes": [] });
    assert_eq!(ada.caller.post("/auth/keys", &none).await.pointers(), ["/scopes"]);
    let (id, caller) = key(&app, &ada, &json!(["jobs:read"])).await;
    let mut row = app.store.get::<AccessKey>(&app.system, key1(&id)).await.unwrap().row;
    row.scopes = Some(vec!["jobs:rule".to_owned()]);
    app.store.transact(&app.system, vec![put(&row, Condition::Any).unwrap()]).await.unwrap();
    caller.get("/jobs").await.expect(403);
    app.stop().await;
}
