//! The OpenAPI document and the page to try it.

use std::collections::{BTreeMap, BTreeSet};

use listbackup::{
    routes::served,
    state::{ApiSettings, Service},
};
use serde_json::Value;

use crate::kit::App;

#[tokio::test(flavor = "multi_thread")]
async fn every_served_route_is_documented_and_nothing_else() {
    let app = App::start().await;
    let document = app.nobody().get("/system/openapi.json").await;
    let paths = document.expect(200)["paths"].as_object().unwrap();
    let documented: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |verb| format!("{verb} {path}")))
        .collect();
    let routes = served(&Service::ALL.into_iter().collect());
    let table: BTreeSet<_> =
        routes.iter().map(|route| format!("{} {}", route.method.as_str().to_lowercase(), route.path)).collect();
    assert_eq!(documented, table);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_field_and_reference_is_described() {
    let app = App::start().await;
    let document = app.nobody().get("/system/openapi.json").await.body;
    let mut problems = Vec::new();
    let mut operations = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            let name = format!("{verb} {path}");
            let is_new = operations.insert(operation["operationId"].as_str().unwrap().to_owned());
            if !is_new || !operation["summary"].is_string() || operation["responses"]["503"].is_null() {
                problems.push(name.clone());
            }
            for parameter in path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
                let known = operation["parameters"].as_array().into_iter().flatten();
                if !known.into_iter().any(|known| known["name"] == parameter) {
                    problems.push(format!("{name}: {{{parameter}}}"));
                }
            }
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        undescribed(name, schema, &mut problems);
    }
    dangling(&document, &document, &mut problems);
    assert_eq!(problems, Vec::<String>::new());
    app.stop().await;
}

fn undescribed(place: &str, schema: &Value, problems: &mut Vec<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        // The tag of a variant tells itself; an optional reference is described beside the reference.
        let is_tag = property["enum"].as_array().is_some_and(|allowed| allowed.len() == 1);
        let mut variants = property["oneOf"].as_array().into_iter().flatten();
        let is_described = variants.any(|variant| variant["description"].is_string());
        if !property["description"].is_string() && !is_tag && !is_described {
            problems.push(place.clone());
        }
        undescribed(&place, property, problems);
    }
    for variant in schema["oneOf"].as_array().into_iter().flatten() {
        undescribed(place, variant, problems);
    }
}

fn dangling(document: &Value, value: &Value, problems: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(target) = fields.get("$ref").and_then(Value::as_str)
                && document.pointer(target.trim_start_matches('#')).is_none()
            {
                problems.push(target.to_owned());
            }
            fields.values().for_each(|field| dangling(document, field, problems));
        }
        Value::Array(items) => items.iter().for_each(|item| dangling(document, item, problems)),
        _ => {}
    }
}

#[test]
fn no_two_schemas_share_a_name() {
    let mut by_name = BTreeMap::new();
    for (name, schema) in served(&Service::ALL.into_iter().collect()).into_iter().flat_map(|route| route.schemas) {
        let text = serde_json::to_string(&schema).unwrap();
        let first = by_name.entry(name.clone()).or_insert_with(|| text.clone());
        assert_eq!(*first, text, "two schemas are called {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_to_try_it_is_served_whole_from_the_program() {
    let app = App::start().await;
    let nobody = app.nobody();
    let page = nobody.get("/system/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("swagger-ui"));
    assert!(nobody.get("/system/docs/swagger-initializer.js").await.text.contains("/system/openapi.json"));
    assert_eq!(nobody.get("/system/docs").await.status, 307);
    app.stop().await;
}

#[test]
fn a_process_serves_only_the_services_it_is_told_to() {
    let routes = served(&BTreeSet::from([Service::Auth]));
    assert!(routes.iter().all(|route| matches!(route.service, Service::Auth | Service::System)));
    assert!(routes.iter().any(|route| route.path == "/auth/login"));
    let settings = ApiSettings {
        public_url: "https://backup.example.com".parse().unwrap(),
        services: BTreeSet::from([Service::Auth]),
        metrics_token: None,
        proxies: Vec::new(),
        stripe: None,
    };
    let document = serde_json::to_value(listbackup::openapi::document(&routes, &settings)).unwrap();
    assert!(document["paths"]["/jobs"].is_null());
    assert_eq!(document["servers"][0]["url"], "https://backup.example.com");
    assert!("auth".parse::<Service>().is_ok() && "nonsense".parse::<Service>().is_err());
}
