//! OAuth sign-ins of sources: started by a member, finished by the browser that the product sends back.
//!
//! What ties the two together is a `state` of 256 random bits. Only its hash is stored, bound to person, account,
//! source and redirect address; it lives ten minutes and is consumed, by a conditional delete, before its code is
//! exchanged.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web::{Data, Json, Path, Query},
};
use jiff::{SignedDuration, Timestamp};
use listbackup_engine::{
    Error, ErrorKind,
    accounts::roles::role_in,
    connectors::{OAuth2SignIn, SignIn, Tokens, oauth::AuthorizationFlow},
    model::{ActivityKind, OAuthState, Source, SourceId, role::Action},
    ports::{Condition, Write},
    run::{
        connect::{integration_of, keep_tokens},
        event::Subject,
        full_settings::{Full, full_settings},
    },
    secret,
    store::{Versioned, key1, put},
    tables::OAUTH_STATES,
    token,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::{Answer, sources};
use crate::{
    body::Body,
    caller::{Caller, authenticate},
    changes::told,
    problem::Problem,
    schemas,
    state::AppState,
};

/// How long a person may take to sign in.
const LIFE: SignedDuration = SignedDuration::from_mins(10);
/// The path of the callback, below the public address.
const CALLBACK: &str = "integrations/oauth/callback";

/// Which source to sign in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInStart {
    /// A source of this integration, with the OAuth client's id and secret in its settings unless an OAuth app is at hand.
    #[schema(value_type = schemas::SourceId)]
    source_id: SourceId,
}

/// A sign-in under way.
#[derive(Serialize, ToSchema)]
pub struct SignInUnderWay {
    /// Send the person's browser here.
    authorize_url: String,
    /// The address to allow for the OAuth client at the product.
    redirect_uri: String,
    /// Until when the person may take.
    expires_at: Timestamp,
}

/// What a product sends the browser back with. Products add fields of their own, which are ignored.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Callback {
    /// Ties the callback to its start.
    state: String,
    /// To be exchanged for tokens.
    code: Option<String>,
    /// Why the product gave no code.
    error: Option<String>,
}

/// A source that is signed in.
#[derive(Serialize, ToSchema)]
pub struct SignedInSource {
    /// The source.
    #[schema(value_type = schemas::SourceId)]
    source_id: SourceId,
    /// Its name.
    name: String,
}

/// Begins an OAuth sign-in of a source.
#[utoipa::path(post, path = "/integrations/{name}/oauth/start",
    params(("name" = String, Path, description = "The integration's name.")), request_body = SignInStart,
    responses((status = 200, description = "Where to send the browser.", body = SignInUnderWay)))]
pub async fn start(
    state: Data<AppState>,
    caller: Caller,
    name: Path<String>,
    body: Body<SignInStart>,
) -> Answer<SignInUnderWay> {
    let found = sources::find(&state, &caller, body.value.source_id).await;
    let source = found.map_err(|problem| match problem.status() {
        StatusCode::NOT_FOUND => Problem::invalid_field("/source_id", "there is no such source"),
        _ => problem,
    })?;
    if source.integration != *name {
        return Err(Problem::invalid_field("/source_id", "the source is of another integration"));
    }
    Ok(Json(begin(&state, &caller, &source).await?))
}

/// Begins a new OAuth sign-in of a source, after its grant ended or for another user of the product.
#[utoipa::path(post, path = "/sources/{id}/reconnect", params(("id" = String, Path, description = "The source's id.")),
    responses((status = 200, description = "Where to send the browser.", body = SignInUnderWay),
    (status = 409, description = "It does not sign in by OAuth; change its settings instead.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn reconnect(state: Data<AppState>, caller: Caller, id: Path<SourceId>) -> Answer<SignInUnderWay> {
    let source = sources::find(&state, &caller, *id).await?;
    Ok(Json(begin(&state, &caller, &source).await?))
}

/// Finishes an OAuth sign-in; the product sends the browser here.
#[utoipa::path(get, path = "/integrations/oauth/callback", params(Callback), responses(
    (status = 200, description = "The source is signed in. A browser gets a page, a program JSON.", body = SignedInSource),
    (status = 400, description = "The sign-in is unknown, used, expired or was refused; start it again.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn callback(state: Data<AppState>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let query = Query::<Callback>::from_query(request.query_string());
    let Callback { state: secret, code, error } = query.map_err(|_| lost())?.into_inner();
    let begun = consume(&state, &secret).await?;
    let caller = member(&state, &request, &begun).await?;
    let Some(code) = code else {
        let why = error.as_deref().filter(|why| is_oauth_word(why)).unwrap_or("no reason given");
        let detail = format!("the product did not allow the connection ({why}); start again to try anew");
        return Err(Problem::new(StatusCode::BAD_REQUEST, "sign_in_refused", detail));
    };
    let source = sources::find(&state, &caller, begun.source_id).await?;
    let (tokens, app) = exchange(&state, &caller, &source, &begun, &code).await?;
    let subject = Subject::source(source.source_id);
    let told = told(&state, &caller, ActivityKind::SourceAuthorised, subject, [("name", json!(source.name))]);
    let source = keep_tokens(&state.ports, caller.scope(), &source, (&tokens, app.as_deref()), &told).await?;
    Ok(done(&request, source))
}

async fn begin(state: &AppState, caller: &Caller, source: &Source) -> Result<SignInUnderWay, Problem> {
    let redirect_uri = redirect_uri(state);
    let (flow, _) = flow(state, caller, source).await?;
    let secret = token::new("", &*state.ports.random);
    let (authorize_url, verifier) = flow.start(&redirect_uri, secret.expose_secret()).map_err(Error::from)?;
    let state_hash = token::hash(secret.expose_secret());
    let expires_at = state.now() + LIFE;
    let sealed = secret::seal(&*state.ports.keys, &context(&state_hash), verifier.expose_secret().as_bytes()).await?;
    let row = OAuthState {
        state_hash,
        user_id: caller.user_id,
        account_id: caller.account_id(),
        source_id: source.source_id,
        integration: source.integration.clone(),
        redirect_uri: redirect_uri.clone(),
        verifier: sealed,
        created_at: state.now(),
        expires_at: expires_at.as_second(),
    };
    state.store.transact(&state.system, vec![put(&row, Condition::Absent)?]).await?;
    Ok(SignInUnderWay { authorize_url: authorize_url.into(), redirect_uri, expires_at })
}

/// The flow of a source's sign-in, and the id of the OAuth app's client that it is with, where it is not the settings' own.
async fn flow(
    state: &AppState,
    caller: &Caller,
    source: &Source,
) -> Result<(AuthorizationFlow, Option<String>), Problem> {
    let found = integration_of(&state.ctx, caller.scope(), source).await?;
    let sign_in = oauth(&found.integration.spec().sign_in)?;
    let full = full_settings(&state.ctx, caller.scope(), &found, source, source.settings.clone()).await?;
    let Full { settings, http, app_client_id, .. } = full;
    Ok((AuthorizationFlow::new(sign_in, &settings, http).map_err(Error::from)?, app_client_id))
}

fn oauth(sign_in: &SignIn) -> Result<&OAuth2SignIn, Problem> {
    match sign_in {
        SignIn::OAuth2(sign_in) => Ok(sign_in),
        SignIn::None | SignIn::Settings => {
            Err(Problem::conflict("this integration does not sign in by OAuth; change the source's settings instead"))
        }
    }
}

/// Takes the state away before anything else is done with it, so that it works once.
async fn consume(state: &AppState, secret: &str) -> Result<OAuthState, Problem> {
    let found = state.store.find::<OAuthState>(&state.system, key1(token::hash(secret))).await?;
    let Versioned { row, version } = found.ok_or_else(lost)?;
    let key = key1(&row.state_hash);
    let take = Write::Delete { table: &OAUTH_STATES, key, condition: Condition::Version(version) };
    match state.store.transact(&state.system, vec![take]).await {
        Err(error) if error.kind() == ErrorKind::Conflict => return Err(lost()),
        done => done?,
    }
    let is_in_time = row.expires_at > state.now().as_second();
    if is_in_time && row.redirect_uri == redirect_uri(state) { Ok(row) } else { Err(lost()) }
}

/// Whoever began must still be allowed to; if the callback says who comes, it must be them.
async fn member(state: &AppState, request: &HttpRequest, begun: &OAuthState) -> Result<Caller, Problem> {
    if request.headers().contains_key(header::AUTHORIZATION) {
        let present = authenticate(state, request).await?;
        if (present.user_id, present.account_id()) != (begun.user_id, begun.account_id) {
            return Err(lost());
        }
    }
    let role = role_in(&state.store, &state.system, begun.user_id, begun.account_id).await?.ok_or_else(lost)?;
    if !role.allows(Action::Operate) {
        return Err(lost());
    }
    Ok(Caller::of_member(state, begun.user_id, begun.account_id, role))
}

async fn exchange(
    state: &AppState,
    caller: &Caller,
    source: &Source,
    begun: &OAuthState,
    code: &str,
) -> Result<(Tokens, Option<String>), Problem> {
    let context = context(&begun.state_hash);
    let verifier = secret::open(&*state.ports.keys, &context, &begun.verifier).await?;
    let verifier = std::str::from_utf8(&verifier).map_err(|_| lost())?;
    let (flow, app_client_id) = flow(state, caller, source).await?;
    let exchanged = flow.exchange(code, SecretString::from(verifier), &begun.redirect_uri).await;
    Ok((exchanged.map_err(Error::from)?, app_client_id))
}

fn context(state_hash: &str) -> String {
    format!("oauth-state={state_hash}")
}

fn redirect_uri(state: &AppState) -> String {
    let base = state.settings.public_url.as_str().trim_end_matches('/');
    format!("{base}/{CALLBACK}")
}

fn lost() -> Problem {
    let detail = "this sign-in is unknown, was used already or took longer than ten minutes; start it again";
    Problem::new(StatusCode::BAD_REQUEST, "sign_in_lost", detail)
}

/// Error codes of RFC 6749 are words; anything else is not repeated to the person.
fn is_oauth_word(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

fn done(request: &HttpRequest, source: Source) -> HttpResponse {
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accept.contains("text/html") {
        return HttpResponse::Ok().content_type("text/html; charset=utf-8").body(PAGE);
    }
    HttpResponse::Ok().json(SignedInSource { source_id: source.source_id, name: source.name })
}

/// Nothing in it comes from outside.
const PAGE: &str = "<!doctype html><meta charset=utf-8><title>Connected</title><p>The product is connected. \
    You can close this window.";
