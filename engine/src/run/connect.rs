//! From a source's row to a connected product: settings and secrets apart at rest, together only here.

use std::sync::Arc;

use listbackup_connectors::{
    self as connectors, Connector, Integration, Link, Settings, Spec, Tokens, http::HttpClient,
};
use serde_json::{Map, Value};

use super::{
    RunContext,
    credential::{Secrets, StoredTokens, open, read_credential, seal},
    event, own_integrations,
    own_integrations::digest_of,
    source_tokens::SourceTokens,
    update::ATTEMPTS_MAX,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{ActivityEvent, Credential, KeyId, Source, SourceId, SourceState, scope::AccountScope},
    ports::{Condition, Ports, Write},
    snapshot::paths,
    store::{self, Store, Versioned},
};

/// An integration, with what it needs to be connected.
pub struct Found {
    /// The integration.
    pub integration: Arc<dyn Integration>,
    /// The client that it may send requests by.
    pub http: HttpClient,
    /// BLAKE3 of its manifest in hex, where that is not one of ours.
    pub digest: Option<String>,
}

/// The integration of a source: one of ours, an own one of its account or of one above, or the manifest that a person's command kept.
///
/// # Errors
/// `NotFound` when there is no such integration; `Corrupt` when the stored manifest was altered.
pub async fn integration_of(ctx: &RunContext, scope: &AccountScope, source: &Source) -> Result<Found> {
    let Some(digest) = &source.manifest_digest else {
        return integration_named(ctx, scope, &source.integration).await?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no such integration").with("integration", &source.integration)
        });
    };
    let integration = kept_manifest(&ctx.ports, scope, &source.integration, digest).await?;
    Ok(Found { integration, http: ctx.http.clone(), digest: Some(digest.clone()) })
}

/// The integration of that name in an account: one of ours, else an own one of the account or of the nearest above that has it.
///
/// # Errors
/// `Corrupt` when the stored manifest was altered; those of the store.
pub async fn integration_named(ctx: &RunContext, scope: &AccountScope, name: &str) -> Result<Option<Found>> {
    if let Some(integration) = ctx.registry.get(name) {
        return Ok(Some(Found { integration, http: ctx.http.clone(), digest: None }));
    }
    // Rarely needed, and large: not a part of the future of everything that connects.
    let found = Box::pin(own_integrations::find(&ctx.store, &ctx.system, scope.account_id(), name)).await?;
    let Some(Versioned { row: own, .. }) = found else { return Ok(None) };
    let integration = Box::pin(own_integrations::load(ctx, &own)).await?;
    Ok(Some(Found { integration, http: ctx.http_for_own.clone(), digest: Some(own.digest) }))
}

/// The manifest that [`keep_manifest`] kept under that digest.
///
/// # Errors
/// `Corrupt` when it was altered; those of the store.
pub async fn kept_manifest(
    ports: &Ports,
    scope: &AccountScope,
    name: &str,
    digest: &str,
) -> Result<Arc<dyn Integration>> {
    let path = paths::integration(scope.account_id(), digest);
    let text = ports.blobs.get(scope, &path).await?;
    let text = std::str::from_utf8(&text).ok().filter(|text| digest_of(text) == digest).ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, "the stored manifest is not the one that was given").with("path", &path)
    })?;
    Ok(Arc::new(connectors::manifest::parse(name, "manifest.yaml", text)?))
}

/// Keeps an account's own manifest and returns its digest. Storing the same text twice is harmless.
///
/// # Errors
/// `Exhausted`, `Retry` from the store.
pub async fn keep_manifest(ports: &Ports, scope: &AccountScope, text: &str) -> Result<String> {
    let digest = digest_of(text);
    let path = paths::integration(scope.account_id(), &digest);
    ports.blobs.put_if_absent(scope, &path, text.to_owned().into()).await?;
    Ok(digest)
}

/// Connects a source's product.
///
/// # Errors
/// As [`integration_of`]; `Invalid` with every wrong setting; `Corrupt` when the credential cannot be opened.
pub async fn connect_source(ctx: &RunContext, scope: &AccountScope, source: &Source) -> Result<Arc<dyn Connector>> {
    connect_with(ctx, scope, source).await.map(|(connector, _)| connector)
}

/// The same, with the digest of the manifest that it is connected by, where that is not one of ours.
///
/// # Errors
/// As [`connect_source`].
pub async fn connect_with(
    ctx: &RunContext,
    scope: &AccountScope,
    source: &Source,
) -> Result<(Arc<dyn Connector>, Option<String>)> {
    let Found { integration, http, digest } = integration_of(ctx, scope, source).await?;
    let credentials = SourceTokens::new(ctx, scope, source.credential_id);
    let spec = integration.spec();
    let settings = full_settings(&ctx.ports, scope, spec, source, source.settings.clone()).await?;
    // One budget for all that share the credential, whatever connects: streams, a restore, a person who checks.
    let credential = source.credential_id.map_or_else(|| source.source_id.to_string(), |key_id| key_id.to_string());
    let http = http.for_credential(&format!("{} {credential}", source.integration), source.rate_share())?;
    Ok((integration.connect(Link { settings, http, credentials: Arc::new(credentials) })?, digest))
}

/// Settings of a source with its secrets inside; what `given` says of a secret goes before what is stored.
///
/// # Errors
/// `Corrupt` when the credential cannot be opened; `Retry` from the stores.
pub async fn full_settings(
    ports: &Ports,
    scope: &AccountScope,
    spec: &Spec,
    source: &Source,
    given: Value,
) -> Result<Settings> {
    let secrets = match source.credential_id {
        Some(key_id) => open(ports, scope.account_id(), &read_credential(ports, scope, key_id).await?.row).await?,
        None => Secrets::default(),
    };
    let mut full = secrets.settings;
    merge(&mut full, given);
    if let (connectors::SignIn::OAuth2(sign_in), Some(tokens)) = (&spec.sign_in, &secrets.tokens) {
        fill_in(&mut full, &sign_in.access_token_path, Some(&tokens.access_token));
        fill_in(&mut full, &sign_in.refresh_token_path, tokens.refresh_token.as_ref());
        fill_in(&mut full, &sign_in.expires_at_path, tokens.expires_at.map(|at| at.to_string()).as_ref());
    }
    Ok(Settings::new(full))
}

/// Sets what a sign-in brought at its place in the settings, where the connector looks for it.
fn fill_in(settings: &mut Value, path: &[String], text: Option<&String>) {
    let (Some(text), false) = (text, path.is_empty()) else { return };
    let mut value = Value::String(text.clone());
    for name in path.iter().rev() {
        value = Value::Object(Map::from_iter([(name.clone(), value)]));
    }
    merge(settings, value);
}

/// Takes the secrets out of a person's settings: what may be shown, and the credential that holds the rest sealed
/// (`None` when there is nothing secret).
///
/// # Errors
/// `Retry` when the key service cannot be reached.
pub async fn seal_settings(
    ports: &Ports,
    scope: &AccountScope,
    spec: &Spec,
    source_id: SourceId,
    mut settings: Value,
) -> Result<(Value, Option<Credential>)> {
    let secrets = take_secrets(&spec.settings_schema, &mut settings);
    let needs_credential = secrets.is_some() || matches!(spec.sign_in, connectors::SignIn::OAuth2(_));
    if !needs_credential {
        return Ok((settings, None));
    }
    let key_id = KeyId::new(&*ports.clock, &*ports.random);
    let secrets = Secrets { settings: secrets.unwrap_or_default(), ..Secrets::default() };
    let mut credential = Credential {
        key_id,
        account_id: scope.account_id(),
        source_id,
        sealed: String::new(),
        token_version: 0,
        expires_at: None,
        updated_at: ports.clock.now(),
    };
    credential.sealed = seal(ports, &credential, &secrets).await?;
    Ok((settings, Some(credential)))
}

/// The credential of a source with other secret settings; its tokens stay, unless the settings bring others.
///
/// # Errors
/// As [`seal_settings`]; `NotFound` when the credential is gone.
pub async fn reseal_settings(
    ports: &Ports,
    scope: &AccountScope,
    spec: &Spec,
    key_id: KeyId,
    mut settings: Value,
) -> Result<(Value, Write)> {
    let Versioned { mut row, version } = read_credential(ports, scope, key_id).await?;
    let mut secrets = open(ports, scope.account_id(), &row).await?;
    // A secret that was not sent again keeps its value: people cannot read it back to send it.
    if let Some(given) = take_secrets(&spec.settings_schema, &mut settings) {
        if brings_another_grant(&spec.sign_in, &given, &secrets.settings) {
            (secrets.tokens, row.token_version, row.expires_at) = (None, 0, None);
        }
        merge(&mut secrets.settings, given);
    }
    // A person says that it is different now.
    secrets.refused.clear();
    row.sealed = seal(ports, &row, &secrets).await?;
    row.updated_at = ports.clock.now();
    Ok((settings, store::put(&row, Condition::Version(version))?))
}

/// True when a person enters a token that they got by themselves, where the sign-in in the browser would put it.
fn brings_another_grant(sign_in: &connectors::SignIn, given: &Value, before: &Value) -> bool {
    let connectors::SignIn::OAuth2(sign_in) = sign_in else { return false };
    let (given, before) = (sign_in.tokens_in(given), sign_in.tokens_in(before));
    given.iter().zip(&before).any(|(given, before)| given.is_some() && given != before)
}

/// Keeps the tokens of a new OAuth sign-in, with the event that tells it. A source that waited for it is ready; one that a person paused stays so.
///
/// # Errors
/// `Invalid` for a source without OAuth; `Retry` from the stores.
pub async fn keep_tokens(
    ports: &Ports,
    scope: &AccountScope,
    source: &Source,
    tokens: &Tokens,
    told: &ActivityEvent,
) -> Result<Source> {
    let key_id = source.credential_id.ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "the source has no credential to sign in").with("source", source.source_id)
    })?;
    let store = Store::new(ports.tables.clone());
    let key = store::key(source.account_id, source.source_id);
    for _ in 0..ATTEMPTS_MAX {
        // Both anew each time: a run may be rotating tokens, and the code that brought these works once.
        let Versioned { mut row, version } = read_credential(ports, scope, key_id).await?;
        let mut secrets = open(ports, scope.account_id(), &row).await?;
        secrets.tokens = Some(StoredTokens::of(tokens));
        row.sealed = seal(ports, &row, &secrets).await?;
        row.token_version += 1;
        row.expires_at = tokens.expires_at;
        row.updated_at = ports.clock.now();
        let credential = store::put(&row, Condition::Version(version))?;
        let Versioned { row: mut source, version } = store.get::<Source>(scope, key.clone()).await?;
        if source.state == SourceState::NeedsAuthorisation {
            source.state = SourceState::Active;
        }
        source.updated_at = ports.clock.now();
        source.watch.look_at(source.updated_at);
        let writes = vec![credential, store::put(&source, Condition::Version(version))?, event::keep(told)?];
        match store.transact(scope, writes).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            done => {
                done?;
                event::publish(ports, scope, std::slice::from_ref(told));
                return Ok(source);
            }
        }
    }
    Err(Error::new(ErrorKind::Conflict, "the source changed under every attempt to keep its sign-in")
        .with("source", source.source_id))
}

/// Moves every field that the schema calls secret out of `settings`.
fn take_secrets(schema: &Value, settings: &mut Value) -> Option<Value> {
    let settings = settings.as_object_mut()?;
    let mut taken = Map::new();
    for variant in variants(schema) {
        let Some(properties) = variant.get("properties").and_then(Value::as_object) else { continue };
        for (name, field) in properties {
            if field.get("airbyte_secret") == Some(&Value::Bool(true)) {
                taken.extend(settings.remove(name).map(|value| (name.clone(), value)));
            } else if let Some(inner) = settings.get_mut(name).and_then(|value| take_secrets(field, value)) {
                taken.insert(name.clone(), inner);
            }
        }
    }
    (!taken.is_empty()).then_some(Value::Object(taken))
}

/// A schema and everything it offers as alternatives.
fn variants(schema: &Value) -> impl Iterator<Item = &Value> {
    let alternatives =
        ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|name| schema.get(name).and_then(Value::as_array)).flatten();
    std::iter::once(schema).chain(alternatives)
}

/// Lays `over` upon `base`, field by field.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (_, Value::Null) => {}
        (Value::Object(base), Value::Object(over)) => {
            for (name, value) in over {
                merge(base.entry(name).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}
