//! The fixtures of our integrations as recordings: what `--replay-http` reads, without any product.

use std::{fs, path::Path, sync::Arc};

use listbackup_connectors::{
    Integration, Result,
    http::{
        Wire,
        tape::{Replay, Secrets},
    },
    registry::Registry,
};
use serde_json::{Value, json};

use crate::stand_ins::{at, exchanges, json_of};

/// An integration of ours, a person's settings, and a recording of its product.
pub struct Tape {
    pub integration: Arc<dyn Integration>,
    pub settings: Value,
    folder: tempfile::TempDir,
}

impl Tape {
    /// Writes the fixtures of `name` down as a recording.
    pub fn of(name: &str) -> Self {
        let integration = Registry::ours().unwrap().get(name).unwrap();
        let settings = json_of(&at(name).join("settings.json"));
        let tape = Self { integration, settings, folder: tempfile::tempdir().unwrap() };
        let mut number = 0;
        for (file, exchanges) in exchanges(name) {
            for exchange in exchanges.as_array().unwrap() {
                let mut all = vec![exchange.clone()];
                if file == "sign-in.json" {
                    all = signed_in(exchange);
                }
                for exchange in all {
                    number += 1;
                    tape.write(number, exchange);
                }
            }
        }
        tape
    }

    fn secrets(&self) -> Arc<Secrets> {
        Arc::new(Secrets::of_settings(&self.integration.spec().settings_schema, &self.settings))
    }

    /// As a recorder does it: requests hold words in place of secrets.
    fn write(&self, number: usize, mut exchange: Value) {
        let mut request = exchange["request"].to_string();
        for (word, value) in self.secrets().values() {
            request = request.replace(&value, &word);
        }
        exchange["request"] = serde_json::from_str(&request).unwrap();
        fs::write(self.folder.path().join(format!("{number:04}.json")), exchange.to_string()).unwrap();
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The recording from its start.
    pub fn wire(&self) -> Result<Wire> {
        Ok(Wire::default().replaying(Replay::read(self.folder(), self.secrets())?))
    }
}

/// A sign-in as a form, and once more with the token that it brings: what was renewed can be renewed again.
fn signed_in(exchange: &Value) -> Vec<Value> {
    let form = |exchange: &Value| {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in exchange["request"]["body"].as_object().into_iter().flatten() {
            form.append_pair(name, value.as_str().unwrap());
        }
        let mut exchange = exchange.clone();
        exchange["request"]["body"] = json!(form.finish());
        exchange
    };
    let mut again = exchange.clone();
    let brought = &exchange["response"]["body"];
    if brought["refresh_token"].is_string() {
        again["request"]["body"]["refresh_token"] = brought["refresh_token"].clone();
    }
    again["response"]["body"]["access_token"] = json!(format!("{}-again", brought["access_token"].as_str().unwrap()));
    vec![form(exchange), form(&again)]
}
