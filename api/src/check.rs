//! Checks JSON against the schema that the documentation publishes, and finds every problem at once. So what is
//! documented and what is enforced cannot differ.
//!
//! Knows the part of JSON Schema that utoipa writes for request types.

use listbackup_engine::model::user::normal_address;
use serde_json::Value;

use crate::problem::FieldProblem;

/// A schema with the schemas that it refers to.
pub struct Schema {
    root: Value,
    components: Value,
}

/// What references to named schemas begin with.
pub const REFERENCE_PREFIX: &str = "#/components/schemas/";

impl Schema {
    /// From the schema of a type and an object of the named schemas under it.
    pub fn new(root: Value, components: Value) -> Self {
        Self { root, components }
    }

    /// Everything that is wrong with `input`.
    pub fn problems(&self, input: &Value) -> Vec<FieldProblem> {
        let mut found = Found::default();
        self.check(&self.root, input, "", &mut found);
        found.0
    }

    fn check(&self, schema: &Value, input: &Value, pointer: &str, found: &mut Found) {
        if let Some(name) = schema["$ref"].as_str().and_then(|target| target.strip_prefix(REFERENCE_PREFIX)) {
            return self.check(&self.components[name], input, pointer, found);
        }
        if let Some(variants) = schema["oneOf"].as_array() {
            return self.one_of(variants, input, pointer, found);
        }
        if !has_type(&schema["type"], input) {
            return found.add(pointer, format!("must be {}", type_words(&schema["type"])));
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(input)
        {
            let words: Vec<_> = allowed.iter().map(Value::to_string).collect();
            return found.add(pointer, format!("must be one of {}", words.join(", ")));
        }
        match input {
            Value::Object(_) => self.object(schema, input, pointer, found),
            Value::Array(items) => self.array(schema, items, pointer, found),
            Value::String(text) => string(schema, text, pointer, found),
            Value::Number(_) => number(schema, input, pointer, found),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn object(&self, schema: &Value, input: &Value, pointer: &str, found: &mut Found) {
        let none = serde_json::Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if input.get(name).is_none() {
                found.add(&child(pointer, name), "is required");
            }
        }
        for (name, value) in input.as_object().into_iter().flatten() {
            match properties.get(name) {
                Some(property) => self.check(property, value, &child(pointer, name), found),
                None if schema["additionalProperties"] == Value::Bool(false) => {
                    found.add(&child(pointer, name), format!("is not a field; fields are {}", names(properties)));
                }
                None => {}
            }
        }
    }

    fn array(&self, schema: &Value, items: &[Value], pointer: &str, found: &mut Found) {
        bounds(schema, ["minItems", "maxItems"], items.len(), "items", pointer, found);
        for (i, item) in items.iter().enumerate() {
            self.check(&schema["items"], item, &child(pointer, &i.to_string()), found);
        }
    }

    /// A variant whose tag fits is the one that was meant; without one, the first whose type fits.
    fn one_of(&self, variants: &[Value], input: &Value, pointer: &str, found: &mut Found) {
        if input.is_null() && variants.iter().any(|variant| variant["type"] == "null") {
            return;
        }
        let mut tags = Vec::new();
        for variant in variants {
            let variant = self.resolve(variant);
            match tag_of(variant) {
                Some((name, tag)) if input.is_object() => {
                    if input.get(name) == Some(tag) {
                        return self.check(variant, input, pointer, found);
                    }
                    tags.push((name, tag.to_string()));
                }
                _ if has_type(&variant["type"], input) => return self.check(variant, input, pointer, found),
                _ => {}
            }
        }
        match tags.first() {
            Some((name, _)) => {
                let words: Vec<_> = tags.iter().map(|(_, tag)| tag.as_str()).collect();
                found.add(&child(pointer, name), format!("must be one of {}", words.join(", ")));
            }
            None => found.add(pointer, "has the wrong type"),
        }
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str().and_then(|target| target.strip_prefix(REFERENCE_PREFIX)) {
            Some(name) => &self.components[name],
            None => schema,
        }
    }
}

#[derive(Default)]
struct Found(Vec<FieldProblem>);

impl Found {
    fn add(&mut self, pointer: &str, detail: impl Into<String>) {
        self.0.push(FieldProblem { pointer: pointer.to_owned(), detail: detail.into() });
    }
}

/// The pointer of a field or item, escaped as RFC 6901 says.
fn child(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn names(properties: &serde_json::Map<String, Value>) -> String {
    properties.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// The property with exactly one allowed value, which tells variants apart.
fn tag_of(variant: &Value) -> Option<(&str, &Value)> {
    variant["properties"].as_object()?.iter().find_map(|(name, property)| {
        let only = property["enum"].as_array().filter(|allowed| allowed.len() == 1)?;
        Some((name.as_str(), &only[0]))
    })
}

fn types(schema_type: &Value) -> Vec<&str> {
    match schema_type {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn has_type(schema_type: &Value, input: &Value) -> bool {
    let types = types(schema_type);
    types.is_empty()
        || types.iter().any(|name| match *name {
            "null" => input.is_null(),
            "boolean" => input.is_boolean(),
            "integer" => input.is_i64() || input.is_u64(),
            "number" => input.is_number(),
            "string" => input.is_string(),
            "array" => input.is_array(),
            "object" => input.is_object(),
            _ => false,
        })
}

fn type_words(schema_type: &Value) -> String {
    types(schema_type).join(" or ")
}

fn string(schema: &Value, text: &str, pointer: &str, found: &mut Found) {
    bounds(schema, ["minLength", "maxLength"], text.chars().count(), "characters", pointer, found);
    match schema["format"].as_str() {
        Some("email") if normal_address(text).is_none() => found.add(pointer, "must be an e-mail address"),
        Some("date-time") if text.parse::<jiff::Timestamp>().is_err() => {
            found.add(pointer, "must be an instant with its zone, such as 2030-01-31T08:00:00Z");
        }
        Some(format) => {
            let prefix = format.strip_suffix("-id");
            if prefix.is_some_and(|prefix| !crate::schemas::is_id(prefix, text)) {
                found.add(pointer, format!("must be an id of the form {}_…", prefix.unwrap_or_default()));
            }
        }
        None => {}
    }
}

fn number(schema: &Value, input: &Value, pointer: &str, found: &mut Found) {
    let greatest = match schema["format"].as_str() {
        Some("int32") => i64::from(i32::MAX),
        _ => i64::MAX,
    };
    if input.as_u64().is_some_and(|value| value > greatest.unsigned_abs()) {
        return found.add(pointer, format!("must be at most {greatest}"));
    }
    let Some(value) = input.as_f64() else { return };
    if schema["minimum"].as_f64().is_some_and(|least| value < least) {
        found.add(pointer, format!("must be at least {}", schema["minimum"]));
    }
    if schema["maximum"].as_f64().is_some_and(|most| value > most) {
        found.add(pointer, format!("must be at most {}", schema["maximum"]));
    }
}

fn bounds(schema: &Value, names: [&str; 2], size: usize, unit: &str, pointer: &str, found: &mut Found) {
    let [least, most] = names.map(|name| schema[name].as_u64());
    if least.is_some_and(|least| (size as u64) < least) {
        found.add(pointer, format!("must have at least {} {unit}", least.unwrap_or_default()));
    }
    if most.is_some_and(|most| size as u64 > most) {
        found.add(pointer, format!("must have at most {} {unit}", most.unwrap_or_default()));
    }
}
