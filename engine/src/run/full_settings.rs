//! The settings of a source as it is connected: with its secrets, with what a sign-in brought, and with an OAuth app where they name no
//! OAuth client.

use std::sync::Arc;

use listbackup_connectors::{Link, OAuth2SignIn, Settings, SignIn, http::HttpClient, oauth::MemoryCredentials};
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

use super::{
    RunContext,
    connect::{Found, merge, take_secrets},
    credential::{Secrets, open, read_credential},
    oauth_apps::{self, App},
};
use crate::{
    error::Result,
    model::{Source, scope::AccountScope},
};

/// Settings that hold all there is, and what goes with them.
pub struct Full {
    /// The settings.
    pub settings: Settings,
    /// The client to connect with. It sends the secret of an app nowhere but to the app's hosts.
    pub http: HttpClient,
    /// The id of the app's client, where they have one of an app.
    pub app_client_id: Option<String>,
    /// The source was signed in by an app, and another client stands in the settings now, or none: its tokens are not in them.
    pub is_signed_in_by_another: bool,
}

/// Settings of a source with its secrets inside; what `given` says of a secret goes before what is stored.
///
/// # Errors
/// `Corrupt` when the credential or an app cannot be opened; `Retry` from the stores.
pub async fn full_settings(
    ctx: &RunContext,
    scope: &AccountScope,
    found: &Found,
    source: &Source,
    given: Value,
) -> Result<Full> {
    let ports = &ctx.ports;
    let secrets = match source.credential_id {
        Some(key_id) => open(ports, scope.account_id(), &read_credential(ports, scope, key_id).await?.row).await?,
        None => Secrets::default(),
    };
    let mut full = secrets.settings;
    merge(&mut full, given);
    // Rarely needed: not a part of the future of everything that connects.
    let app = Box::pin(app_for(ctx, scope, found, &full)).await?;
    let mut is_signed_in_by_another = false;
    if let SignIn::OAuth2(sign_in) = &found.integration.spec().sign_in {
        enter(&mut full, sign_in, app.as_ref());
        let signed_in_by = secrets.app_client_id.as_deref();
        is_signed_in_by_another = signed_in_by.is_some() && signed_in_by != sign_in.client_id_in(&full);
        if let Some(tokens) = secrets.tokens.filter(|_| !is_signed_in_by_another) {
            fill_in(&mut full, &sign_in.access_token_path, Some(&tokens.access_token));
            fill_in(&mut full, &sign_in.refresh_token_path, tokens.refresh_token.as_ref());
            fill_in(&mut full, &sign_in.expires_at_path, tokens.expires_at.map(|at| at.to_string()).as_ref());
        }
    }
    Ok(Full { is_signed_in_by_another, ..of(found, full, app) })
}

/// The same of settings that are no source's yet.
///
/// # Errors
/// As [`full_settings`].
pub async fn first_settings(ctx: &RunContext, scope: &AccountScope, found: &Found, mut given: Value) -> Result<Full> {
    let app = app_for(ctx, scope, found, &given).await?;
    if let SignIn::OAuth2(sign_in) = &found.integration.spec().sign_in {
        enter(&mut given, sign_in, app.as_ref());
    }
    Ok(of(found, given, app))
}

fn of(found: &Found, full: Value, app: Option<App>) -> Full {
    let http = match &app {
        Some(app) => found.http.clone().guarding(app.guard()),
        None => found.http.clone(),
    };
    let app_client_id = app.map(|app| app.client_id);
    Full { settings: Settings::new(full), http, app_client_id, is_signed_in_by_another: false }
}

/// The app that settings take, if they name no client of their own and want to sign in by OAuth.
async fn app_for(ctx: &RunContext, scope: &AccountScope, found: &Found, settings: &Value) -> Result<Option<App>> {
    let SignIn::OAuth2(sign_in) = &found.integration.spec().sign_in else { return Ok(None) };
    if !sign_in.lacks_client(settings) {
        return Ok(None);
    }
    let name = &found.integration.spec().name;
    let Some(nearest) = oauth_apps::nearest(ctx, scope.account_id(), name, found.reach).await? else { return Ok(None) };
    if sign_in.chosen_by.is_none() && has_another_key(found, sign_in, settings) {
        return Ok(None);
    }
    oauth_apps::opened(&ctx.ports, nearest).await.map(Some)
}

/// True for settings that are whole without OAuth, by a key or password. A choice between ways would say so, where there is one.
fn has_another_key(found: &Found, sign_in: &OAuth2SignIn, settings: &Value) -> bool {
    let mut others = settings.clone();
    let of_sign_in = [
        &sign_in.client_secret_path,
        &sign_in.access_token_path,
        &sign_in.refresh_token_path,
        &sign_in.expires_at_path,
    ];
    of_sign_in.into_iter().for_each(|path| remove(&mut others, path));
    let link = || Link {
        settings: Settings::new(settings.clone()),
        http: found.http.clone(),
        credentials: Arc::new(MemoryCredentials::empty()),
    };
    let schema = &found.integration.spec().settings_schema;
    // Binding settings sends nothing.
    take_secrets(schema, &mut others).is_some() && found.integration.connect(link()).is_ok()
}

/// Both halves of the app, or nothing: a secret that stands there belongs to another client.
fn enter(settings: &mut Value, sign_in: &OAuth2SignIn, app: Option<&App>) {
    let Some(app) = app else { return };
    let secret = app.client_secret.expose_secret().to_owned();
    fill_in(settings, &sign_in.client_id_path, Some(&app.client_id));
    fill_in(settings, &sign_in.client_secret_path, Some(&secret));
}

/// Sets what a sign-in needs or brought at its place in the settings, where the connector looks for it.
fn fill_in(settings: &mut Value, path: &[String], text: Option<&String>) {
    let (Some(text), false) = (text, path.is_empty()) else { return };
    let mut value = Value::String(text.clone());
    for name in path.iter().rev() {
        value = Value::Object(Map::from_iter([(name.clone(), value)]));
    }
    merge(settings, value);
}

fn remove(settings: &mut Value, path: &[String]) {
    let Some((last, before)) = path.split_last() else { return };
    let parent = before.iter().try_fold(settings, |value, name| value.get_mut(name));
    parent.and_then(Value::as_object_mut).map(|parent| parent.remove(last));
}
