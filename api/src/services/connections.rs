//! A source's settings, secrets and streams: checked with its integration, tried out with its product.

use std::{sync::Arc, time::Duration};

use actix_web::web::{Data, Json, Path};
use listbackup_engine::{
    ErrorKind,
    connectors::{
        Catalog, Integration, Link, OAuth2SignIn, Settings, SignIn, StreamSpec, http::HttpClient,
        oauth::MemoryCredentials,
    },
    model::{Credential, KeyId, Source, SourceId, SourceState},
    ports::{Condition, Write},
    run::{
        connect::{connect_source, integration_named, integration_of, reseal_settings, seal_settings},
        full_settings::{Full, first_settings, full_settings},
    },
    store::put,
};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::{Answer, source_views::NewSource, sources};
use crate::{caller::Caller, problem::Problem, schemas, state::AppState};

/// A product that does not answer a test within this time has failed it.
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Outcome of a connection test.
#[derive(Serialize, ToSchema)]
pub struct TestOutcome {
    /// Whether the product accepted the connection.
    ok: bool,
    /// Why not: a stable word, such as `reauthorise`, `invalid`, `retry`.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// Why not, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// The streams of a source.
#[derive(Serialize, ToSchema)]
pub struct Streams {
    /// In the order in which the integration declares them.
    items: Vec<SourceStream>,
}

/// One stream of a source.
#[derive(Serialize, ToSchema)]
pub struct SourceStream {
    /// Its name.
    name: String,
    /// Whether runs read it.
    is_selected: bool,
    /// Whether runs can read only what changed.
    is_incremental: bool,
    /// Paths of the fields that make a record's key; empty when the record's digest is the key.
    primary_key: Vec<Vec<String>>,
    /// Path of the field that moves forward when a record changes; empty when there is none.
    cursor_field: Vec<String>,
    /// JSON schema of a record.
    #[schema(value_type = schemas::JsonObject)]
    json_schema: Value,
}

/// Tries the connection with as few requests as possible.
#[utoipa::path(post, path = "/sources/{id}/test", params(("id" = String, Path, description = "The source's id.")),
    responses((status = 200, description = "What the product said.", body = TestOutcome)))]
pub async fn test(state: Data<AppState>, caller: Caller, id: Path<SourceId>) -> Answer<TestOutcome> {
    let source = sources::find(&state, &caller, *id).await?;
    let tried = timeout(TEST_TIMEOUT, try_out(&state, &caller, &source)).await;
    let outcome = match tried {
        Ok(Ok(())) => TestOutcome { ok: true, code: None, message: None },
        Ok(Err(error)) if matches!(error.kind(), ErrorKind::Bug | ErrorKind::Corrupt) => return Err(error.into()),
        Ok(Err(error)) => TestOutcome { ok: false, code: Some(error.kind().code()), message: Some(error.to_string()) },
        Err(_) => TestOutcome {
            ok: false,
            code: Some(ErrorKind::Retry.code()),
            message: Some(format!("the product did not answer within {} seconds", TEST_TIMEOUT.as_secs())),
        },
    };
    Ok(Json(outcome))
}

async fn try_out(state: &AppState, caller: &Caller, source: &Source) -> Result<(), listbackup_engine::Error> {
    let connector = connect_source(&state.ctx, caller.scope(), source).await?;
    Ok(connector.check().await?)
}

/// The streams that the source offers.
#[utoipa::path(get, path = "/sources/{id}/streams", params(("id" = String, Path, description = "The source's id.")),
    responses((status = 200, description = "The streams.", body = Streams)))]
pub async fn streams(state: Data<AppState>, caller: Caller, id: Path<SourceId>) -> Answer<Streams> {
    let source = sources::find(&state, &caller, *id).await?;
    let catalog = catalog(&state, &caller, &source).await?;
    let is_selected = |name: &String| source.streams.as_ref().is_none_or(|wanted| wanted.contains(name));
    let items = catalog.streams.into_iter().map(|stream| SourceStream::of(is_selected(&stream.name), stream)).collect();
    Ok(Json(Streams { items }))
}

impl SourceStream {
    fn of(is_selected: bool, stream: StreamSpec) -> Self {
        Self {
            is_selected,
            is_incremental: stream.is_incremental(),
            name: stream.name,
            primary_key: stream.primary_key,
            cursor_field: stream.cursor_field,
            json_schema: stream.json_schema,
        }
    }
}

async fn catalog(state: &AppState, caller: &Caller, source: &Source) -> Result<Catalog, listbackup_engine::Error> {
    let connector = connect_source(&state.ctx, caller.scope(), source).await?;
    Ok(connector.discover().await?)
}

/// The settings of a source to be made, apart from its secrets, and the state that it begins in.
///
/// # Errors
/// 422 with every wrong setting.
pub async fn accept(
    state: &AppState,
    caller: &Caller,
    source_id: SourceId,
    wanted: &NewSource,
) -> Result<(Value, Option<Credential>, SourceState), Problem> {
    let found = integration_named(&state.ctx, caller.scope(), &wanted.integration).await?;
    let found = found.ok_or_else(|| {
        Problem::invalid_field("/integration", "there is no such integration; GET /integrations lists them")
    })?;
    let Full { settings: full, http, .. } =
        first_settings(&state.ctx, caller.scope(), &found, wanted.settings.clone()).await?;
    let connector = connect(http, &*found.integration, full.clone())?;
    if let (Some(streams), Some(connector)) = (&wanted.streams, &connector) {
        // A product that must be asked, and cannot be yet, is taken at the person's word; the run tells.
        if let Ok(catalog) = connector.discover().await {
            known_streams(&catalog, streams)?;
        }
    }
    let spec = found.integration.spec();
    let given = wanted.settings.clone();
    let (settings, credential) = seal_settings(&state.ports, caller.scope(), spec, source_id, given).await?;
    // Settings that hold all that a connection takes (a key instead of a sign-in, say) are ready as they are.
    let is_ready = connector.is_some() && !waits_for_sign_in(&spec.sign_in, full.expose());
    let first_state = if is_ready { SourceState::Active } else { SourceState::NeedsAuthorisation };
    Ok((settings, credential, first_state))
}

/// New settings of a source, ready to be written.
pub struct Resettled {
    /// The part that may be shown.
    pub settings: Value,
    /// The sealed part.
    pub credential_id: Option<KeyId>,
    /// The write of the sealed part.
    pub write: Option<Write>,
    /// What the source's state becomes, when the new settings change it.
    pub state: Option<SourceState>,
}

/// Checks new settings of a source, with the secrets that were not given again.
///
/// # Errors
/// 422 with every wrong setting.
pub async fn resettle(state: &AppState, caller: &Caller, source: &Source, given: Value) -> Result<Resettled, Problem> {
    let scope = caller.scope();
    let found = integration_of(&state.ctx, scope, source).await?;
    let spec = found.integration.spec();
    let Full { settings: full, http, .. } = full_settings(&state.ctx, scope, &found, source, given.clone()).await?;
    // As if the person had named the app's client, where they named none.
    let named = first_settings(&state.ctx, scope, &found, given.clone()).await?.settings;
    let new_state = state_after(source.state, &spec.sign_in, full.expose(), named.expose());
    connect(http, &*found.integration, full)?;
    let (settings, credential_id, write) = match source.credential_id {
        Some(key_id) => {
            let (settings, write) = reseal_settings(&state.ports, scope, spec, key_id, given).await?;
            (settings, Some(key_id), Some(write))
        }
        None => {
            let (settings, credential) = seal_settings(&state.ports, scope, spec, source.source_id, given).await?;
            let write = credential.as_ref().map(|credential| put(credential, Condition::Absent)).transpose()?;
            (settings, credential.map(|credential| credential.key_id), write)
        }
    };
    Ok(Resettled { settings, credential_id, write, state: new_state })
}

/// Refuses streams that the source does not have.
///
/// # Errors
/// 422 naming each unknown one.
pub async fn check_streams(
    state: &AppState,
    caller: &Caller,
    source: &Source,
    wanted: &[String],
) -> Result<(), Problem> {
    match catalog(state, caller, source).await {
        Ok(catalog) => known_streams(&catalog, wanted),
        // As when the source was made: the product cannot be asked now.
        Err(_) => Ok(()),
    }
}

fn known_streams(catalog: &Catalog, wanted: &[String]) -> Result<(), Problem> {
    let known: Vec<_> = catalog.streams.iter().map(|stream| stream.name.as_str()).collect();
    let unknown = wanted.iter().enumerate().filter(|(_, name)| !known.contains(&name.as_str()));
    let detail = format!("is not a stream of this source; streams are {}", known.join(", "));
    let problems: Vec<_> = unknown.map(|(i, _)| Problem::field(format!("/streams/{i}"), detail.clone())).collect();
    if problems.is_empty() { Ok(()) } else { Err(Problem::invalid(problems)) }
}

type Connected = Option<Arc<dyn listbackup_engine::connectors::Connector>>;

/// Binds settings, which finds everything that is wrong with them and sends nothing. Tokens of an OAuth sign-in that
/// has not taken place are not missed; there is no connector then.
fn connect(http: HttpClient, integration: &dyn Integration, settings: Settings) -> Result<Connected, Problem> {
    let credentials = Arc::new(MemoryCredentials::empty());
    let error = match integration.connect(Link { settings, http, credentials }) {
        Ok(connector) => return Ok(Some(connector)),
        Err(error) => error,
    };
    let expected = match &integration.spec().sign_in {
        SignIn::OAuth2(sign_in) => token_pointers(sign_in),
        SignIn::None | SignIn::Settings => Vec::new(),
    };
    let is_about_tokens = |place: &String| expected.contains(place);
    let problems = error.problems();
    if !problems.is_empty() && problems.iter().all(|problem| is_about_tokens(&problem.place)) {
        return Ok(None);
    }
    Err(Problem::from(listbackup_engine::Error::from(error)).under("/settings"))
}

/// True when settings choose OAuth and nobody has signed in with them yet.
fn waits_for_sign_in(sign_in: &SignIn, settings: &Value) -> bool {
    matches!(sign_in, SignIn::OAuth2(oauth) if oauth.is_awaited(settings))
}

fn chooses_oauth(sign_in: &SignIn, settings: &Value) -> bool {
    matches!(sign_in, SignIn::OAuth2(oauth) if oauth.is_chosen(settings))
}

/// New settings end the wait for a sign-in unless they choose OAuth again without bringing a token, and begin one when
/// they choose it anew.
fn state_after(present: SourceState, sign_in: &SignIn, full: &Value, given: &Value) -> Option<SourceState> {
    match present {
        _ if chooses_oauth(sign_in, given) && waits_for_sign_in(sign_in, full) => Some(SourceState::NeedsAuthorisation),
        SourceState::NeedsAuthorisation if !waits_for_sign_in(sign_in, given) => Some(SourceState::Active),
        SourceState::Active | SourceState::Paused | SourceState::NeedsAuthorisation => None,
    }
}

fn token_pointers(sign_in: &OAuth2SignIn) -> Vec<String> {
    [&sign_in.access_token_path, &sign_in.refresh_token_path, &sign_in.expires_at_path]
        .into_iter()
        .map(|path| format!("/{}", path.join("/")))
        .collect()
}
