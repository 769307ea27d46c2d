//! From a source's row to a connected product: settings and secrets apart at rest, together only here.

use std::sync::Arc;

use listbackup_connectors::{self as connectors, Connector, Integration, Link, Spec, Tokens, http::HttpClient};
use serde_json::{Map, Value};

use super::{
    RunContext,
    credential::{Secrets, StoredTokens, open, read_credential, seal},
    event,
    full_settings::{Full, full_settings},
    oauth_apps::Reach,
    own_integrations,
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
    /// Whose OAuth apps it may be connected with.
    pub reach: Reach,
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
    let reach = Reach::UpTo(scope.account_id());
    Ok(Found { integration, http: ctx.http.clone(), digest: Some(digest.clone()), reach })
}

/// The integration of that name in an account: one of ours, else an own one of the account or of the nearest above that has it.
///
/// # Errors
/// `Corrupt` when the stored manifest was altered; those of the store.
pub async fn integration_named(ctx: &RunContext, scope: &AccountScope, name: &str) -> Result<Option<Found>> {
    if let Some(integration) = ctx.registry.get(name) {
        return Ok(Some(Found { integration, http: ctx.http.clone(), digest: None, reach: Reach::All }));
    }
    // Rarely needed, and large: not a part of the future of everything that connects.
    let found = Box::pin(own_integrations::find(&ctx.store, &ctx.system, scope.account_id(), name)).await?;
    let Some(Versioned { row: own, .. }) = found else { return Ok(None) };
    let integration = Box::pin(own_integrations::load(ctx, &own)).await?;
    let reach = Reach::UpTo(own.account_id);
    Ok(Some(Found { integration, http: ctx.http_for_own.clone(), digest: Some(own.digest), reach }))
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
/// As [`integration_of`]; `Invalid` with every wrong setting; `Corrupt` when the credential cannot be opened; `Reauthorise` when the
/// OAuth app that it was signed in by is another one now, or gone.
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
    let found = integration_of(ctx, scope, source).await?;
    let credentials = SourceTokens::new(ctx, scope, source.credential_id);
    let full = full_settings(ctx, scope, &found, source, source.settings.clone()).await?;
    if full.is_signed_in_by_another {
        let message = "the OAuth app that the source was signed in by was replaced or removed: sign in again";
        return Err(Error::new(ErrorKind::Reauthorise, message).with("source", source.source_id));
    }
    let Full { settings, http, .. } = full;
    // One budget for all that share the credential, whatever connects: streams, a restore, a person who checks.
    let credential = source.credential_id.map_or_else(|| source.source_id.to_string(), |key_id| key_id.to_string());
    let http = http.for_credential(&format!("{} {credential}", source.integration), source.rate_share())?;
    let link = Link { settings, http, credentials: Arc::new(credentials) };
    Ok((found.integration.connect(link)?, found.digest))
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
            secrets.app_client_id = None;
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

/// Keeps the tokens of a new OAuth sign-in, by an app's client or (`None`) by the settings' own, with the event that tells it. A source that waited for it is ready; one that a person paused stays so.
///
/// # Errors
/// `Invalid` for a source without OAuth; `Retry` from the stores.
pub async fn keep_tokens(
    ports: &Ports,
    scope: &AccountScope,
    source: &Source,
    (tokens, app_client_id): (&Tokens, Option<&str>),
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
        secrets.app_client_id = app_client_id.map(str::to_owned);
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
pub(super) fn take_secrets(schema: &Value, settings: &mut Value) -> Option<Value> {
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
pub(super) fn merge(base: &mut Value, over: Value) {
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
