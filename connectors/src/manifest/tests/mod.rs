//! What the reference does, compared with what this runtime does: tables of `tests/connectors/facts`, which
//! `make-facts.py` there takes from the reference. Where this runtime differs on purpose, the case is named beside its test.

mod hostile;
mod mutated;
mod reading;
mod templates;

use std::{
    fmt::Write as _,
    sync::{Arc, OnceLock},
};

use serde_json::Value;

use super::{
    load::{Loader, Take, View},
    session::Session,
    template::{Engine, Python},
};
use crate::{
    Link, Settings,
    http::{AddressGuard, HttpClient, HttpClientBuilder},
    oauth::MemoryCredentials,
};

/// The rows of a table.
fn rows(table: &str) -> Vec<Vec<Value>> {
    serde_json::from_str(table).unwrap()
}

/// The settings and names that the cases see; as in `cases.py`.
fn context() -> Value {
    serde_json::from_str(include_str!("../../../../tests/connectors/facts/context.json")).unwrap()
}

/// Fails with every case in which both differ.
fn assert_equal(found: Vec<(String, String, String)>, on_purpose: &[&str]) {
    let mut report = String::new();
    let mut count = 0;
    for (case, theirs, ours) in found {
        if theirs != ours && !on_purpose.contains(&case.as_str()) {
            count += 1;
            writeln!(report, "{case}\n    reference {theirs}\n    ours      {ours}").unwrap();
        }
    }
    assert!(count == 0, "{count} differ\n{report}");
}

/// A value as Python writes it.
fn written(value: &Python) -> String {
    let list = Python::List(vec![value.clone()]).text();
    list[1..list.len() - 1].to_owned()
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| "error".into(), str::to_owned)
}

/// A session with the settings of the cases.
fn session(engine: Engine) -> Session {
    // Building a client takes long: one for all.
    static HTTP: OnceLock<HttpClient> = OnceLock::new();
    let http = HTTP.get_or_init(|| HttpClientBuilder::new(AddressGuard::allowing(Vec::new())).build().unwrap());
    let settings = context()["config"].clone();
    let link = Link {
        settings: Settings::new(settings.clone()),
        http: http.clone(),
        credentials: Arc::new(MemoryCredentials::empty()),
    };
    Session::new(Arc::new(engine), link, settings)
}

/// Loads a part of a manifest with `load`; `None` when it is refused.
fn loaded<T>(part: &Value, load: impl FnOnce(&View<'_>) -> Take<T>) -> Option<(T, Session)> {
    let (loader, root) = Loader::read("facts", &part.to_string()).ok()?;
    let loaded = load(&loader.root(&root)).ok();
    let (compiler, problems) = loader.into_parts();
    loaded.filter(|_| problems.is_empty()).map(|loaded| (loaded, session(compiler.finish())))
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: std::collections::BTreeMap<_, _> =
                members.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            members.into_iter().collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}
