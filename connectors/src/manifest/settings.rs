//! Checks a person's settings against the manifest's schema; every problem at once, none with a value in it.

use regex::Regex;
use serde_json::{Map, Value};

use crate::Problem;

/// Everything in `settings` that does not fit `schema`, by JSON pointer.
pub(crate) fn check(schema: &Value, settings: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_at(schema, settings, "", &mut problems);
    problems
}

fn problem(problems: &mut Vec<Problem>, pointer: &str, message: impl Into<String>) {
    let place = if pointer.is_empty() { "/".to_owned() } else { pointer.to_owned() };
    problems.push(Problem { place, message: message.into() });
}

fn check_at(schema: &Value, value: &Value, pointer: &str, problems: &mut Vec<Problem>) {
    let Some(rules) = schema.as_object() else { return };
    if let Some(kinds) = rules.get("type") {
        let kinds: Vec<&str> = kinds.as_str().map_or_else(
            || kinds.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
            |kind| vec![kind],
        );
        if !kinds.is_empty() && !kinds.iter().any(|kind| is_kind(value, kind)) {
            problem(problems, pointer, format!("must be {}, is {}", kinds.join(" or "), kind_of(value)));
            return;
        }
    }
    if let Some(expected) = rules.get("const")
        && expected != value
    {
        problem(problems, pointer, format!("must be {expected}"));
    }
    if let Some(choices) = rules.get("enum").and_then(Value::as_array)
        && !choices.contains(value)
    {
        let choices: Vec<String> = choices.iter().map(Value::to_string).collect();
        problem(problems, pointer, format!("must be one of {}", choices.join(", ")));
    }
    match value {
        Value::String(text) => check_text(rules, text, pointer, problems),
        Value::Number(number) => check_number(rules, number.as_f64().unwrap_or(0.0), pointer, problems),
        Value::Array(items) => check_items(rules, items, pointer, problems),
        Value::Object(members) => check_members(rules, members, pointer, problems),
        Value::Null | Value::Bool(_) => {}
    }
    check_choices(rules, value, pointer, problems);
}

fn is_kind(value: &Value, kind: &str) -> bool {
    match kind {
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        other => kind_of(value) == other,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check_text(rules: &Map<String, Value>, text: &str, pointer: &str, problems: &mut Vec<Problem>) {
    let length = text.chars().count() as u64;
    if let Some(least) = rules.get("minLength").and_then(Value::as_u64).filter(|least| length < *least) {
        problem(problems, pointer, format!("must have at least {least} characters"));
    }
    if let Some(most) = rules.get("maxLength").and_then(Value::as_u64).filter(|most| length > *most) {
        problem(problems, pointer, format!("must have at most {most} characters"));
    }
    // Patterns with look-around cannot be checked here; the product will tell.
    if let Some(pattern) = rules.get("pattern").and_then(Value::as_str)
        && Regex::new(pattern).is_ok_and(|pattern| !pattern.is_match(text))
    {
        let hint = rules.get("pattern_descriptor").and_then(Value::as_str).unwrap_or(pattern);
        problem(problems, pointer, format!("must look like {hint}"));
    }
}

fn check_number(rules: &Map<String, Value>, number: f64, pointer: &str, problems: &mut Vec<Problem>) {
    if let Some(least) = rules.get("minimum").and_then(Value::as_f64).filter(|least| number < *least) {
        problem(problems, pointer, format!("must be at least {least}"));
    }
    if let Some(most) = rules.get("maximum").and_then(Value::as_f64).filter(|most| number > *most) {
        problem(problems, pointer, format!("must be at most {most}"));
    }
}

fn check_items(rules: &Map<String, Value>, items: &[Value], pointer: &str, problems: &mut Vec<Problem>) {
    if let Some(least) = rules.get("minItems").and_then(Value::as_u64).filter(|least| (items.len() as u64) < *least) {
        problem(problems, pointer, format!("must have at least {least} items"));
    }
    if let Some(schema) = rules.get("items") {
        for (index, item) in items.iter().enumerate() {
            check_at(schema, item, &format!("{pointer}/{index}"), problems);
        }
    }
}

fn check_members(rules: &Map<String, Value>, members: &Map<String, Value>, pointer: &str, problems: &mut Vec<Problem>) {
    let child = |name: &str| format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
    for name in rules.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !members.contains_key(name) {
            problem(problems, &child(name), "is required and missing");
        }
    }
    let properties = rules.get("properties").and_then(Value::as_object);
    for (name, schema) in properties.into_iter().flatten() {
        if let Some(value) = members.get(name) {
            check_at(schema, value, &child(name), problems);
        }
    }
    if rules.get("additionalProperties") == Some(&Value::Bool(false)) {
        for name in members.keys().filter(|name| !properties.is_some_and(|known| known.contains_key(*name))) {
            problem(problems, &child(name), "is not a setting of this integration");
        }
    }
}

/// `oneOf` and `anyOf`: at least one must fit; the problems told are those of the one that fits best.
fn check_choices(rules: &Map<String, Value>, value: &Value, pointer: &str, problems: &mut Vec<Problem>) {
    for name in ["oneOf", "anyOf"] {
        let Some(choices) = rules.get(name).and_then(Value::as_array).filter(|choices| !choices.is_empty()) else {
            continue;
        };
        let mut attempts: Vec<(bool, Vec<Problem>)> = Vec::with_capacity(choices.len());
        for choice in choices {
            let mut found = Vec::new();
            check_at(choice, value, pointer, &mut found);
            attempts.push((!says_another_kind(choice, value), found));
        }
        if attempts.iter().any(|(_, found)| found.is_empty()) {
            continue;
        }
        let best = attempts.into_iter().max_by_key(|(is_meant, found)| (*is_meant, std::cmp::Reverse(found.len())));
        problems.extend(best.into_iter().flat_map(|(_, found)| found));
    }
}

/// True when a constant of the choice differs from the value: another choice was meant.
fn says_another_kind(choice: &Value, value: &Value) -> bool {
    let properties = choice.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().any(|(name, schema)| {
        let constant = schema.get("const").or_else(|| {
            schema.get("enum").and_then(|choices| choices.as_array()).filter(|one| one.len() == 1).map(|one| &one[0])
        });
        constant.is_some_and(|constant| value.get(name).is_some_and(|found| found != constant))
    })
}

/// True when the schema has a secret field anywhere.
pub(crate) fn has_secrets(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => {
            members.get("airbyte_secret") == Some(&Value::Bool(true)) || members.values().any(has_secrets)
        }
        Value::Array(items) => items.iter().any(has_secrets),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_missing_or_wrong_setting_is_named_at_once_and_none_is_shown() {
        let schema = json!({"type": "object", "required": ["key", "since", "auth"], "properties": {
            "key": {"type": "string", "airbyte_secret": true},
            "since": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
            "size": {"type": "integer", "minimum": 1},
            "region": {"enum": ["eu", "us"]},
            "auth": {"oneOf": [
                {"required": ["kind", "token"], "properties": {"kind": {"const": "token"}, "token": {"type": "string"}}},
                {"required": ["kind", "user"], "properties": {"kind": {"const": "basic"}, "user": {"type": "string"}}}]}}});
        let settings = json!({"since": "hunter2", "size": 0, "region": "mars", "auth": {"kind": "basic"}});
        let problems: Vec<String> = check(&schema, &settings).iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "/key: is required and missing",
                "/since: must look like ^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
                "/size: must be at least 1",
                "/region: must be one of \"eu\", \"us\"",
                "/auth/user: is required and missing",
            ]
        );
        let good = json!({"key": "x", "since": "2024-01-01", "auth": {"kind": "token", "token": "t"}});
        assert!(check(&schema, &good).is_empty());
        assert!(has_secrets(&schema));
    }
}
