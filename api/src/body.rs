//! Bodies and query strings of requests: limits, then the published schema with every problem at once, then the type.

use std::future::Future;

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    http::{StatusCode, header},
    web::Bytes,
};
use aws_lc_rs::digest::{SHA256, digest};
use futures::future::LocalBoxFuture;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema, openapi::path::ParameterIn};

use crate::{
    check::Schema,
    closed::close,
    problem::{FieldProblem, Problem},
};

/// Largest body of a request, in bytes.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Deepest nesting of objects and arrays in a body.
const BODY_DEPTH_MAX: usize = 32;
/// Longest query string, in bytes.
const QUERY_BYTES_MAX: usize = 4 * 1024;

/// The JSON body of a request.
pub struct Body<T> {
    /// What it says.
    pub value: T,
    /// SHA-256 of its bytes.
    pub digest: [u8; 32],
}

impl<T: DeserializeOwned + ToSchema> FromRequest for Body<T> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_json = is_json(request);
        let bytes = Bytes::from_request(request, payload);
        Box::pin(async move {
            let bytes = bytes_of(is_json, bytes).await?;
            let mut hash = [0; 32];
            hash.copy_from_slice(digest(&SHA256, &bytes).as_ref());
            Ok(Self { value: parse(&bytes, &schema_of::<T>())?, digest: hash })
        })
    }
}

fn is_json(request: &HttpRequest) -> bool {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|value| value.split(';').next()).map(str::trim);
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
}

async fn bytes_of(
    is_json: bool,
    bytes: impl Future<Output = Result<Bytes, actix_web::Error>>,
) -> Result<Bytes, Problem> {
    if !is_json {
        let detail = "send the body as JSON, with `Content-Type: application/json`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail));
    }
    bytes.await.map_err(|error| match error.as_response_error().status_code() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too_large",
            format!("a body may have at most {BODY_BYTES_MAX} bytes"),
        ),
        _ => Problem::new(StatusCode::BAD_REQUEST, "bad_request", "the body did not arrive whole"),
    })
}

fn parse<T: DeserializeOwned>(bytes: &[u8], schema: &Schema) -> Result<T, Problem> {
    if depth(bytes) > BODY_DEPTH_MAX {
        let detail = format!("the body nests deeper than {BODY_DEPTH_MAX} levels");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "too_deep", detail));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        let detail = format!("the body is not JSON: {error}");
        Problem::new(StatusCode::BAD_REQUEST, "malformed", detail)
    })?;
    typed(value, schema, "")
}

/// What the schema lets through, the type takes; where it is stricter still, its own words are the answer.
fn typed<T: DeserializeOwned>(value: Value, schema: &Schema, pointer: &str) -> Result<T, Problem> {
    let problems = schema.problems(&value);
    if !problems.is_empty() {
        return Err(Problem::invalid(problems));
    }
    serde_json::from_value(value).map_err(|error| Problem::invalid_field(pointer, error.to_string()))
}

/// Nesting of brackets outside of strings, found before anything recursive reads the text.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

fn schema_of<T: ToSchema>() -> Schema {
    let mut named = Vec::new();
    T::schemas(&mut named);
    named.iter_mut().for_each(|(_, schema)| close(schema));
    let components = named.into_iter().map(|(name, schema)| (name, to_json(&schema))).collect::<Map<_, _>>();
    Schema::new(to_json(&T::schema()), Value::Object(components))
}

fn to_json(schema: &impl serde::Serialize) -> Value {
    // Schemas are plain data; one that does not serialise lets nothing through.
    serde_json::to_value(schema).unwrap_or(Value::Bool(false))
}

/// The query string of a request. Only a parameter whose type is a list may be repeated.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned + IntoParams> FromRequest for Params<T> {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(params(request.query_string()).map(Self))
    }
}

fn params<T: DeserializeOwned + IntoParams>(query: &str) -> Result<T, Problem> {
    if query.len() > QUERY_BYTES_MAX {
        return Err(Problem::new(StatusCode::URI_TOO_LONG, "too_large", "the query string is too long"));
    }
    let known = T::into_params(|| Some(ParameterIn::Query));
    let properties: Map<_, _> = known.iter().map(|param| (param.name.clone(), to_json(&param.schema))).collect();
    let mut input = Map::new();
    let mut repeated = Vec::new();
    for (name, text) in url::form_urlencoded::parse(query.as_bytes()) {
        let schema = properties.get(name.as_ref()).unwrap_or(&Value::Null);
        if schema["type"] == "array" {
            if let Value::Array(values) = input.entry(name).or_insert_with(|| json!([])) {
                values.push(value_of(&schema["items"]["type"], &text));
            }
        } else if input.insert(name.to_string(), value_of(&schema["type"], &text)).is_some() {
            repeated.push(FieldProblem { pointer: format!("?{name}"), detail: "may be given once only".to_owned() });
        }
    }
    if !repeated.is_empty() {
        return Err(Problem::invalid(repeated));
    }
    let required: Vec<_> = known
        .iter()
        .filter(|param| matches!(param.required, utoipa::openapi::Required::True))
        .map(|param| param.name.clone())
        .collect();
    let schema = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
    });
    let problems = Schema::new(schema, Value::Null).problems(&Value::Object(input.clone()));
    if !problems.is_empty() {
        return Err(Problem::invalid(problems.into_iter().map(in_query).collect()));
    }
    serde_json::from_value(Value::Object(input)).map_err(|error| Problem::invalid_field("?", error.to_string()))
}

fn in_query(problem: FieldProblem) -> FieldProblem {
    FieldProblem { pointer: problem.pointer.replacen('/', "?", 1), ..problem }
}

/// A parameter's text as the JSON that its type asks for; text that does not fit stays text and fails the check.
fn value_of(schema_type: &Value, text: &str) -> Value {
    let is_text = schema_type.to_string().contains("string");
    let parsed = serde_json::from_str::<Value>(text).ok().filter(|value| value.is_number() || value.is_boolean());
    parsed.filter(|_| !is_text).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Tells a field that is `null` from one that is absent.
///
/// # Errors
/// Those of the value.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
