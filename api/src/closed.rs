//! Schemas of requests say that there are no further fields, in the variants of an enum too, where utoipa does not say it though serde
//! refuses them.

use std::collections::BTreeSet;

use serde_json::Value;
use utoipa::openapi::{
    OpenApi, RefOr,
    schema::{AdditionalProperties, Object, Schema},
};

use crate::check::REFERENCE_PREFIX;

/// Closes the variants of an enum that are told apart by a tag; other schemas stay as they are.
pub fn close(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::OneOf(variants)) = schema else { return };
    for variant in &mut variants.items {
        if let RefOr::T(Schema::Object(object)) = variant
            && has_tag(object)
        {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

fn has_tag(object: &Object) -> bool {
    object.properties.values().any(|property| match property {
        RefOr::T(Schema::Object(property)) => property.enum_values.as_ref().is_some_and(|words| words.len() == 1),
        _ => false,
    })
}

/// Closes what the bodies of requests refer to. What only answers have stays open: they may get more fields.
pub fn close_requests(document: &mut OpenApi) {
    let mut names = BTreeSet::new();
    let mut waiting: Vec<Value> = Vec::new();
    for item in document.paths.paths.values() {
        let operations = [&item.post, &item.put, &item.patch];
        let bodies = operations.into_iter().flatten().filter_map(|operation| operation.request_body.as_ref());
        waiting.extend(bodies.filter_map(|body| serde_json::to_value(body).ok()));
    }
    let Some(components) = &mut document.components else { return };
    while let Some(value) = waiting.pop() {
        for name in references(&value) {
            let Some(schema) = components.schemas.get_mut(&name) else { continue };
            if names.insert(name) {
                close(schema);
                waiting.extend(serde_json::to_value(&*schema));
            }
        }
    }
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own =
                fields.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix(REFERENCE_PREFIX));
            own.map(str::to_owned).into_iter().chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
