//! Suspicions about secrets: where they are declared, and where they go.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use regex::Regex;

use super::{
    super::{
        load::{View, scalar_text},
        yaml::{Data, Node},
    },
    Severity,
    templates::texts,
    vocabulary,
    walk::Examination,
};

/// The fields of each authenticator that hold secrets.
const SECRET_FIELDS: [(&str, &[&str]); 7] = [
    ("ApiKeyAuthenticator", &["api_token"]),
    ("BearerAuthenticator", &["api_token"]),
    ("BasicHttpAuthenticator", &["password"]),
    ("OAuthAuthenticator", &["client_secret", "refresh_token", "access_token_value"]),
    ("JwtAuthenticator", &["secret_key", "passphrase"]),
    ("LegacySessionTokenAuthenticator", &["password", "session_token"]),
    ("RateLimitedMultipleTokenAuthenticator", &["tokens"]),
];

/// Fields that hold addresses.
const ADDRESSES: [&str; 4] = ["url_base", "url", "token_refresh_endpoint", "login_url"];

/// What comes from answers, and so from whoever answers.
const FROM_ANSWERS: [&str; 7] =
    ["record", "response", "stream_partition", "stream_slice", "parent_slice", "download_target", "creation_response"];

static SETTING: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"\bconfig((?:\s*\[\s*['"][^'"\]]+['"]\s*\]|\.[A-Za-z_]\w*(?:\(\s*['"][^'"]+['"])?)+)"#).ok()
});
static STEP: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"\[\s*['"]([^'"\]]+)['"]|\.get\(\s*['"]([^'"]+)['"]|\.([A-Za-z_]\w*)"#).ok());

/// One use of a setting in a template.
struct Used {
    path: Vec<String>,
    /// It may be missing: `config.get(…)`.
    is_optional: bool,
}

/// The settings that a template uses.
fn used(template: &str) -> Vec<Used> {
    let (Some(setting), Some(step)) = (&*SETTING, &*STEP) else { return Vec::new() };
    let mut all = Vec::new();
    for chain in setting.captures_iter(template).filter_map(|found| found.get(1)) {
        let mut one = Used { path: Vec::new(), is_optional: false };
        for found in step.captures_iter(chain.as_str()) {
            let is_method = found.get(3).is_some_and(|name| {
                let end = chain.start() + name.end();
                template[end..].trim_start().starts_with('(')
            });
            if is_method {
                break;
            }
            one.is_optional |= found.get(2).is_some();
            one.path.extend((1..=3).find_map(|group| found.get(group)).map(|name| name.as_str().to_owned()));
        }
        if !one.path.is_empty() {
            all.push(one);
        }
    }
    all
}

/// The declarations of a setting, wherever the schema has alternatives.
fn declared(schema: &Arc<Node>, path: &[String]) -> Vec<Arc<Node>> {
    let Some((name, rest)) = path.split_first() else { return vec![Arc::clone(schema)] };
    let mut found: Vec<Arc<Node>> =
        schema.get("properties").and_then(|own| own.get(name)).map(|own| declared(own, rest)).unwrap_or_default();
    for key in ["oneOf", "anyOf", "allOf"] {
        if let Some(Data::List(choices)) = schema.get(key).map(|choices| &choices.data) {
            found.extend(choices.iter().flat_map(|choice| declared(choice, path)));
        }
    }
    found
}

fn schema(examination: &Examination<'_>) -> Option<Arc<Node>> {
    examination.source.child("spec")?.field("connection_specification")
}

/// An authenticator or a requester.
pub(super) fn examine(examination: &mut Examination<'_>, view: &View<'_>) {
    for (_, fields) in SECRET_FIELDS.iter().filter(|(kind, _)| *kind == view.kind()) {
        for field in *fields {
            unmarked(examination, view, field);
        }
    }
    // Many products take the key as the user's name, with an empty password.
    let has_password =
        view.field("password").and_then(|node| scalar_text(&node)).is_some_and(|text| !text.trim().is_empty());
    if view.kind() == "BasicHttpAuthenticator" && !has_password {
        unmarked(examination, view, "username");
    }
    for field in ADDRESSES {
        address(examination, view, field);
    }
}

/// A setting that signs requests is stored and shown in clear unless it is marked.
fn unmarked(examination: &mut Examination<'_>, view: &View<'_>, field: &str) {
    let Some(schema) = schema(examination) else { return };
    let Some(text) = view.field(field).and_then(|node| scalar_text(&node)) else { return };
    for setting in used(&text) {
        for declaration in declared(&schema, &setting.path) {
            if declaration.get("airbyte_secret").is_some_and(|marked| !marked.is_falsy()) {
                continue;
            }
            let name = setting.path.join(".");
            let message = format!(
                "the setting `{name}` signs requests (`{field}` of `{}`) and is not marked as secret",
                view.kind()
            );
            let path = format!("spec.connection_specification, {name}");
            let hint = "add `airbyte_secret: true`: without it the value is stored and shown in clear";
            examination.note(Severity::Suspicious, &declaration, &path, message, hint);
        }
    }
}

/// Where requests go: over which protocol, and who decides to which host.
fn address(examination: &mut Examination<'_>, view: &View<'_>, field: &str) {
    let Some(node) = view.field(field) else { return };
    let Some(text) = scalar_text(&node) else { return };
    let is_near = ["http://localhost", "http://127.", "http://[::1]"].iter().any(|near| text.starts_with(near));
    if text.starts_with("http://") && !is_near {
        let message = format!("`{field}` is plain http: everything sent there can be read on the way, secrets too");
        examination.suspect(view, field, message, "use https");
    }
    let signs = view.child("authenticator").is_some_and(|auth| !matches!(auth.kind(), "NoAuth" | ""));
    let host = host(&text);
    let from: Vec<&str> = FROM_ANSWERS.into_iter().filter(|word| host.contains(word)).collect();
    if signs && host.contains("{{") && !from.is_empty() {
        let message = format!(
            "the host of `{field}` comes from `{}`: an answer decides where the secrets of the authenticator go",
            from.join("`, `")
        );
        examination.suspect(view, field, message, "write the host out, and take only the path from answers");
    }
}

/// The part of an address that says to which host it leads: up to the first slash after the protocol.
fn host(text: &str) -> &str {
    let start = text.find("://").map_or(0, |at| at + 3);
    let mut depth = 0_usize;
    let bytes = text.as_bytes();
    for at in start..bytes.len() {
        match bytes[at] {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b'/' if depth == 0 => return &text[..at],
            _ => {}
        }
    }
    text
}

/// Settings that templates use and nobody can fill in.
pub(super) fn settings(examination: &mut Examination<'_>) {
    let source = examination.source.clone();
    let Some(schema) = schema(examination) else { return };
    let writes_settings = source.child("spec").is_some_and(|spec| spec.field("config_normalization_rules").is_some());
    let is_open = schema.get("additionalProperties").is_some_and(|open| !open.is_falsy());
    if writes_settings || is_open && schema.get("properties").is_none() {
        return;
    }
    let mut names = Vec::new();
    if let Some(Data::Map(members)) = schema.get("properties").map(|own| &own.data) {
        names.extend(members.iter().map(|(name, _)| name.to_string()));
    }
    let mut told = BTreeSet::new();
    for (node, path, text) in texts(&source).into_iter().filter(|(_, _, text)| text.contains("config")) {
        for setting in used(&text).into_iter().filter(|setting| !setting.is_optional) {
            let name = setting.path[0].clone();
            if !declared(&schema, &setting.path[..1]).is_empty() || !told.insert(name.clone()) {
                continue;
            }
            let meant = vocabulary::nearest(&name, names.iter().map(String::as_str));
            let hint = meant.map_or_else(
                || "declare it in `connection_specification`".to_owned(),
                |meant| format!("did you mean `{meant}`?"),
            );
            let message = format!("the template uses the setting `{name}`, which `spec` does not have");
            examination.note(Severity::Suspicious, &node, &path, message, &hint);
        }
    }
}
