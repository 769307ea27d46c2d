//! Settings of a source from a file and from `--set`, with values of the types that the schema names.

use std::{fs, path::Path};

use listbackup_engine::{Error, Result, connectors::Problem};
use serde_json::{Map, Value};

/// The settings as given: the file's, with those of `--set` laid over.
///
/// # Errors
/// `Invalid` with every problem: an unreadable file, no JSON object, a `--set` without `=`.
pub fn read(config: Option<&Path>, set: &[String], schema: &Value) -> Result<Value> {
    let mut problems = Vec::new();
    let mut settings = match config.map(read_config).transpose() {
        Ok(settings) => settings.unwrap_or_default(),
        Err(problem) => {
            problems.push(problem);
            Map::new()
        }
    };
    for given in set {
        match given.split_once('=').filter(|(name, _)| !name.is_empty()) {
            Some((name, text)) => lay(&mut settings, schema, &name.split('.').collect::<Vec<_>>(), text),
            None => problems.push(Problem {
                place: format!("--set {}", given.split('=').next().unwrap_or_default()),
                message: "write it as KEY=VALUE".to_owned(),
            }),
        }
    }
    if problems.is_empty() {
        Ok(Value::Object(settings))
    } else {
        Err(Error::invalid("the settings cannot be read", problems))
    }
}

fn read_config(path: &Path) -> Result<Map<String, Value>, Problem> {
    let problem = |message: String| Problem { place: format!("--config {}", path.display()), message };
    let text = fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
    // Its own message names line and column, never a value.
    match serde_json::from_str(&text).map_err(|error| problem(format!("not JSON: {error}")))? {
        Value::Object(settings) => Ok(settings),
        _ => Err(problem("must hold a JSON object".to_owned())),
    }
}

fn lay(settings: &mut Map<String, Value>, schema: &Value, path: &[&str], text: &str) {
    let [name, rest @ ..] = path else { return };
    let field = field(schema, name);
    if rest.is_empty() {
        settings.insert((*name).to_owned(), typed(field, text));
        return;
    }
    let inner = settings.entry((*name).to_owned()).or_insert_with(|| Value::Object(Map::new()));
    if !inner.is_object() {
        *inner = Value::Object(Map::new());
    }
    if let Value::Object(inner) = inner {
        lay(inner, field.unwrap_or(&Value::Null), rest, text);
    }
}

/// The schema of a field, also inside alternatives.
fn field<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let direct = schema.get("properties").and_then(|properties| properties.get(name));
    direct.or_else(|| {
        let variants = schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array()?;
        variants.iter().find_map(|variant| field(variant, name))
    })
}

/// Text stays text where the schema wants text; elsewhere what reads as JSON is JSON.
fn typed(field: Option<&Value>, text: &str) -> Value {
    let kinds = match field.and_then(|field| field.get("type")) {
        Some(Value::String(kind)) => vec![kind.as_str()],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if kinds.contains(&"string") || kinds.is_empty() {
        return Value::String(text.to_owned());
    }
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn given(set: &[&str]) -> Vec<String> {
        set.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn values_take_the_type_that_the_schema_names() {
        let schema = json!({ "properties": {
            "token": { "type": "string" }, "pages": { "type": "integer" },
            "credentials": { "oneOf": [{ "properties": { "deep": { "type": "boolean" } } }] },
        }});
        let read = read(None, &given(&["token=123", "pages=7", "credentials.deep=true", "url=a=b"]), &schema);
        assert_eq!(
            read.expect("settings"),
            json!({ "token": "123", "pages": 7, "credentials": { "deep": true }, "url": "a=b" })
        );
    }

    #[test]
    fn every_malformed_setting_is_named_and_no_value_is_shown() {
        let error = read(None, &given(&["secret", "=x"]), &Value::Null).expect_err("two problems");
        assert_eq!(error.problems().len(), 2);
        assert!(error.to_string().contains("--set secret: write it as KEY=VALUE"));
    }
}
