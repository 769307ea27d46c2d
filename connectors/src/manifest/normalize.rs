//! `schema_normalization: Default`: values take the kinds that the stream's schema names, where they can.

use serde_json::Value;

use super::template::Python;

/// Kinds that hold nothing else.
const SIMPLE: [&str; 5] = ["string", "number", "integer", "boolean", "null"];

/// Changes the members of `record` that `schema` describes.
pub(crate) fn normalize(record: &mut Python, schema: &Value) {
    match record {
        Python::Dict(members) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            for (key, value) in members {
                if let (Python::Text(name), Some(properties)) = (key, properties)
                    && let Some(schema) = properties.get(name.as_str())
                {
                    *value = converted(value, schema);
                    normalize(value, schema);
                }
            }
        }
        Python::List(items) => {
            if let Some(schema) = schema.get("items").filter(|schema| schema.is_object()) {
                for item in items {
                    *item = converted(item, schema);
                    normalize(item, schema);
                }
            }
        }
        _ => {}
    }
}

/// The value as the schema's one kind; as it is when the schema names several or none, or it does not fit.
fn converted(value: &Python, schema: &Value) -> Python {
    let kinds: Vec<&str> = match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return value.clone(),
    };
    if *value == Python::None && kinds.contains(&"null") {
        return Python::None;
    }
    let is_list = schema.get("type").is_some_and(Value::is_array);
    let mut named = kinds.into_iter().filter(|kind| !is_list || *kind != "null");
    let (Some(kind), None) = (named.next(), named.next()) else { return value.clone() };
    let converted = match kind {
        "string" => Some(Python::Text(value.text())),
        "number" => number(value),
        "integer" => integer(value),
        "boolean" => boolean(value),
        "array" => wrapped(value, schema),
        _ => None,
    };
    converted.unwrap_or_else(|| value.clone())
}

fn number(value: &Python) -> Option<Python> {
    Some(Python::Float(match value {
        Python::Int(value) => *value as f64,
        Python::Float(value) => *value,
        Python::Bool(value) => f64::from(u8::from(*value)),
        Python::BigInt(digits) => digits.parse().ok()?,
        Python::Text(text) => text.trim().parse().ok()?,
        _ => return None,
    }))
}

fn integer(value: &Python) -> Option<Python> {
    match value {
        Python::Int(_) | Python::BigInt(_) => Some(value.clone()),
        Python::Bool(value) => Some(Python::Int(i128::from(*value))),
        Python::Float(value) if value.is_finite() => Some(Python::Int(value.trunc() as i128)),
        Python::Text(text) => text.trim().parse().ok().map(Python::Int),
        _ => None,
    }
}

fn boolean(value: &Python) -> Option<Python> {
    let Python::Text(text) = value else { return Some(Python::Bool(value.is_truthy())) };
    match text.trim().to_lowercase().as_str() {
        "y" | "yes" | "t" | "true" | "on" | "1" => Some(Python::Bool(true)),
        "n" | "no" | "f" | "false" | "off" | "0" => Some(Python::Bool(false)),
        _ => None,
    }
}

/// A scalar where a list of scalars is expected becomes a list of one.
fn wrapped(value: &Python, schema: &Value) -> Option<Python> {
    let is_scalar =
        !matches!(value, Python::List(_) | Python::Tuple(_) | Python::Set(_) | Python::Dict(_) | Python::Bytes(_));
    let holds_scalars = match schema.get("items").and_then(|items| items.get("type")) {
        None => true,
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).all(|kind| SIMPLE.contains(&kind)),
        Some(_) => false,
    };
    (is_scalar && holds_scalars).then(|| Python::List(vec![value.clone()]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Facts taken from the reference's TypeTransformer.
    #[test]
    fn values_take_the_kinds_of_the_schema_where_they_can() {
        let schema = json!({"properties": {
            "s": {"type": "string"}, "n": {"type": ["null", "number"]}, "i": {"type": "integer"}, "b": {"type": "boolean"},
            "l": {"type": "array", "items": {"type": ["string", "null"]}}, "two": {"type": ["string", "integer"]},
            "o": {"type": "object", "properties": {"x": {"type": "string"}}}, "m": {"items": {"type": "integer"}}}});
        let mut record = Python::from(
            &json!({"s": 1.0, "n": "2", "i": "x", "b": "Yes", "l": "a", "two": 5, "o": {"x": true}, "m": ["1", "b"], "z": 1}),
        );
        normalize(&mut record, &schema);
        assert_eq!(
            record.to_json(),
            r#"{"s":"1.0","n":2.0,"i":"x","b":true,"l":["a"],"two":5,"o":{"x":"True"},"m":[1,"b"],"z":1}"#
        );
    }
}
