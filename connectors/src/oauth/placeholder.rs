//! Placeholders in sign-in URLs: `{{ client_id_value }}`, `{{ config['region'] }}`, `{{ {{ state_value }} | urlEncoder }}`.
//!
//! The declarative OAuth block has this small language of its own (`DeclarativeOAuth` in the published schema): names,
//! one filter, and nesting. Names are looked up among the flow's values first and in the settings after that.

use std::collections::BTreeMap;

use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use crate::error::{Error, ErrorKind, Result};

/// More replacements than any real URL has; ends values that bring placeholders along.
const REPLACEMENTS_MAX: u32 = 64;

/// Fills every placeholder of `template`.
///
/// # Errors
/// `Invalid` for an unknown name, an unknown filter or braces without end.
pub fn fill(template: &str, values: &BTreeMap<&str, &str>, settings: &Value) -> Result<String> {
    let mut text = template.to_owned();
    for _ in 0..REPLACEMENTS_MAX {
        // The innermost pair ends first.
        let Some(end) = text.find("}}") else { return finished(text, template) };
        let Some(start) = text[..end].rfind("{{") else { return finished(text, template) };
        let value = evaluate(&text[start + 2..end], values, settings).map_err(|error| error.with("in", template))?;
        text.replace_range(start..end + 2, &value);
    }
    Err(Error::new(ErrorKind::Invalid, "a sign-in URL has too many placeholders").with("in", template))
}

fn finished(text: String, template: &str) -> Result<String> {
    if text.contains("{{") || text.contains("}}") {
        return Err(Error::new(ErrorKind::Invalid, "a placeholder of a sign-in URL has no end").with("in", template));
    }
    Ok(text)
}

fn evaluate(expression: &str, values: &BTreeMap<&str, &str>, settings: &Value) -> Result<String> {
    let (name, filter) = match expression.split_once('|') {
        Some((name, filter)) => (name.trim(), Some(filter.trim())),
        None => (expression.trim(), None),
    };
    let value = values.get(name).map(|value| (*value).to_owned()).or_else(|| setting(name, settings));
    match (value, filter) {
        (Some(value), None) => Ok(value),
        // Without such a name, the text is what an inner placeholder left.
        (value, Some("urlEncoder" | "urlencode")) => {
            Ok(byte_serialize(value.as_deref().unwrap_or(name).as_bytes()).collect())
        }
        (_, Some(filter)) => Err(Error::new(ErrorKind::Invalid, format!("unknown filter {filter:?} in a sign-in URL"))),
        (None, None) => {
            let message = format!("{name:?} is neither a setting nor a value of the sign-in");
            Err(Error::new(ErrorKind::Invalid, message))
        }
    }
}

/// `config['x']`, `config["x"]`, `config.x` or plain `x`, with deeper levels after it.
fn setting(name: &str, settings: &Value) -> Option<String> {
    let path = name.strip_prefix("config").filter(|rest| rest.starts_with(['[', '.'])).unwrap_or(name);
    let mut value = settings;
    for key in path.split(['[', ']', '.', '\'', '"']).filter(|key| !key.is_empty()) {
        value = value.get(key)?;
    }
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(template: &str) -> Result<String> {
        let values =
            BTreeMap::from([("client_id_key", "client_id"), ("client_id_value", "me"), ("state_value", "a b&c")]);
        fill(template, &values, &json!({"subdomain": "acme", "credentials": {"region": "eu"}, "port": 8}))
    }

    #[test]
    fn placeholders_of_every_form_are_filled() {
        for (template, expected) in [
            ("https://a.example/x", "https://a.example/x"),
            ("https://a.example/?{{client_id_key}}={{ client_id_value }}", "https://a.example/?client_id=me"),
            ("?state={{ {{state_value}} | urlEncoder }}", "?state=a+b%26c"),
            ("?state={{ state_value | urlEncoder }}", "?state=a+b%26c"),
            ("https://{{subdomain}}.example", "https://acme.example"),
            ("https://{{ config['subdomain'] }}.example", "https://acme.example"),
            ("https://{{ config[\"credentials\"][\"region\"] }}.example", "https://eu.example"),
            ("https://a.example:{{ config.port }}/", "https://a.example:8/"),
        ] {
            assert_eq!(filled(template).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn what_cannot_be_filled_is_an_error_that_names_it() {
        for (template, expected) in [
            ("https://{{ nobody }}.example", "\"nobody\""),
            ("https://{{ subdomain | rot13 }}.example", "\"rot13\""),
            ("https://{{ subdomain", "no end"),
            ("https://{{ config['credentials'] }}", "credentials"),
        ] {
            let error = filled(template).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_value_that_brings_itself_along_ends() {
        let values = BTreeMap::from([("x", "{{ x }}")]);
        assert!(fill("{{ x }}", &values, &json!({})).unwrap_err().to_string().contains("too many"));
    }
}
