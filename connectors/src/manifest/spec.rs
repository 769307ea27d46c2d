//! `Spec`: the settings a person fills in, and how to sign in.

use serde_json::{Value, json};

use super::{
    load::{Take, View},
    settings::has_secrets,
};
use crate::{OAuth2SignIn, SignIn, Spec};

/// Reads the component in the field called `spec`; a manifest without one has no settings.
pub(crate) fn load(source: &View<'_>, name: &str) -> Take<Spec> {
    let title = source
        .node()
        .get("metadata")
        .and_then(|metadata| metadata.get("name"))
        .and_then(|title| title.as_text().cloned());
    let description = source.text("description")?.unwrap_or_default();
    let title = title.map_or_else(|| titled(name), |title| title.to_string());
    let Some(view) = source.child("spec") else {
        let settings_schema = json!({"type": "object", "properties": {}});
        return Ok(Spec { name: name.into(), title, description, settings_schema, sign_in: SignIn::None });
    };
    let schema = view
        .field("connection_specification")
        .map_or_else(|| json!({"type": "object", "properties": {}}), |node| node.to_json());
    let sign_in = match view.child("advanced_auth").and_then(|auth| oauth(&auth.node().to_json())) {
        Some(oauth) => SignIn::OAuth2(Box::new(oauth)),
        None if has_secrets(&schema) => SignIn::Settings,
        None => SignIn::None,
    };
    let title =
        schema.get("title").and_then(Value::as_str).map_or(title, |title| title.trim_end_matches(" Spec").to_owned());
    Ok(Spec { name: name.into(), title, description, settings_schema: schema, sign_in })
}

/// `source-my-crm` as `My crm`.
fn titled(name: &str) -> String {
    let words = name.trim_start_matches("source-").replace(['-', '_'], " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The field by which a person chooses this way to sign in.
fn choice(auth: &Value) -> Option<(Vec<String>, String)> {
    let path = auth.get("predicate_key")?.as_array()?.iter().map(|step| step.as_str().map(str::to_owned));
    let value = auth.get("predicate_value")?.as_str()?;
    path.collect::<Option<Vec<_>>>().filter(|path| !path.is_empty()).map(|path| (path, value.to_owned()))
}

/// The declarative OAuth block; `None` for the kind that needs another program.
fn oauth(auth: &Value) -> Option<OAuth2SignIn> {
    let block = auth.get("oauth_config_specification")?;
    let input = block.get("oauth_connector_input_specification")?;
    let text = |name: &str| input.get(name).and_then(Value::as_str).map(str::to_owned);
    let path = |group: &str, name: &str| -> Option<Vec<String>> {
        // A JSON schema by the book; published manifests also name the fields without `properties`.
        let group = block.get(group)?;
        let field = group.get("properties").unwrap_or(group).get(name)?;
        let steps = field.get("path_in_connector_config")?.as_array()?;
        steps.iter().map(|step| step.as_str().map(str::to_owned)).collect()
    };
    let output = |name: &str| path("complete_oauth_output_specification", name);
    let client = |name: &str, key: &str| {
        let named = text(key).unwrap_or_else(|| name.to_owned());
        path("complete_oauth_server_output_specification", &named)
            .or_else(|| path("complete_oauth_server_output_specification", name))
            .unwrap_or_else(|| vec![name.to_owned()])
    };
    let listed = input.get("scopes").and_then(Value::as_array).into_iter().flatten();
    let mut scopes: Vec<String> =
        listed.filter_map(|scope| scope.get("scope").and_then(Value::as_str).map(str::to_owned)).collect();
    if scopes.is_empty() {
        scopes = text("scope").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    }
    Some(OAuth2SignIn {
        authorize_url: text("consent_url")?,
        token_url: text("access_token_url")?,
        scopes,
        client_id_path: client("client_id", "client_id_key"),
        client_secret_path: client("client_secret", "client_secret_key"),
        access_token_path: output("access_token").unwrap_or_default(),
        refresh_token_path: output("refresh_token").unwrap_or_default(),
        expires_at_path: output("token_expiry_date").or_else(|| output("expires_in")).unwrap_or_default(),
        chosen_by: choice(auth),
    })
}
