//! The caller's second factor: an authenticator app (TOTP, RFC 6238), and recovery codes for the day when it is lost.

use actix_web::{
    HttpResponse,
    web::{Data, Json},
};
use listbackup_engine::{
    Error, ErrorKind,
    letters::{FactorChange, second_factor_changed},
    model::ActivityKind,
    run::event::Subject,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answer, own_letters::tell};
use crate::{
    body::Body,
    caller::{AccessToken, Caller},
    changes::{commit, told},
    problem::Problem,
    state::AppState,
};

/// What the authenticator app is told. It counts once a code of it was given.
#[derive(Serialize, ToSchema)]
pub struct FactorSetup {
    /// The secret, in base32, for typing.
    secret: String,
    /// The same as `otpauth://totp/…`, for a QR code.
    uri: String,
}

/// A code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FactorCode {
    /// Six digits from the authenticator app; to turn it off, a recovery code does too.
    #[schema(value_type = String, max_length = 200)]
    code: SecretString,
}

/// What replaces the authenticator app.
#[derive(Serialize, ToSchema)]
pub struct RecoveryCodes {
    /// Each is good once in place of a code. Shown here and nowhere else; none where a user pool signs people in.
    recovery_codes: Vec<String>,
}

/// Makes a secret for an authenticator app. It counts once `/auth/mfa/enable` had a code of it.
#[utoipa::path(post, path = "/auth/mfa/setup", responses(
    (status = 200, description = "For the app. The secret is not shown again.", body = FactorSetup),
    (status = 409, description = "There is a second factor already; disable it first.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn set_up(state: Data<AppState>, caller: Caller, token: AccessToken) -> Answer<FactorSetup> {
    let factor = state.ports.identity.set_up_factor(token.of(&caller)).await?;
    let shown = |secret: &SecretString| secret.expose_secret().to_owned();
    Ok(Json(FactorSetup { secret: shown(&factor.secret), uri: shown(&factor.uri) }))
}

/// Asks for a code at each sign-in from now on, after a first one proved the app.
#[utoipa::path(post, path = "/auth/mfa/enable", request_body = FactorCode, responses(
    (status = 200, description = "On. Keep the recovery codes: they are not shown again.", body = RecoveryCodes),
    (status = 429, description = "Too many attempts; `Retry-After` says when to come back.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn enable(
    state: Data<AppState>,
    caller: Caller,
    token: AccessToken,
    body: Body<FactorCode>,
) -> Answer<RecoveryCodes> {
    let codes = state.ports.identity.enable_factor(token.of(&caller), &body.value.code).await.map_err(wrong_code)?;
    record(&state, &caller, FactorChange::On).await?;
    let recovery_codes = codes.iter().map(|code| code.expose_secret().to_owned()).collect();
    Ok(Json(RecoveryCodes { recovery_codes }))
}

/// Asks for no code any more; takes a code, or a recovery code, for it.
#[utoipa::path(post, path = "/auth/mfa/disable", request_body = FactorCode, responses(
    (status = 204, description = "Off."),
    (status = 429, description = "Too many attempts; `Retry-After` says when to come back.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn disable(
    state: Data<AppState>,
    caller: Caller,
    token: AccessToken,
    body: Body<FactorCode>,
) -> Result<HttpResponse, Problem> {
    state.ports.identity.disable_factor(token.of(&caller), &body.value.code).await.map_err(wrong_code)?;
    record(&state, &caller, FactorChange::Off).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn wrong_code(error: Error) -> Problem {
    match error.kind() {
        ErrorKind::Denied => Problem::invalid_field("/code", "is wrong, or was used already"),
        _ => error.into(),
    }
}

async fn record(state: &AppState, caller: &Caller, change: FactorChange) -> Result<(), Problem> {
    let kind = match change {
        FactorChange::On => ActivityKind::UserSecondFactorEnabled,
        FactorChange::Off => ActivityKind::UserSecondFactorDisabled,
    };
    let told = told(state, caller, kind, Subject::default(), []);
    commit(state, caller.scope(), Vec::new(), told).await?;
    tell(state, caller.user_id, |user, at| second_factor_changed(&user.email, &user.name, change, at)).await;
    Ok(())
}
