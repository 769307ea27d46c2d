//! Registering, proving an address, signing in and out.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Json, Path},
};
use listbackup_engine::{
    Error, ErrorKind,
    accounts::roles::role_in,
    letters::recovery_code_used,
    model::{AccountId, ActivityKind, UserId},
    ports::{Person, SignIn, SignedIn},
    run::event::{self, Subject},
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Map;
use utoipa::ToSchema;

use super::{Answer, own_letters::tell};
use crate::{
    body::Body,
    caller::Caller,
    changes::commit,
    problem::Problem,
    schemas,
    state::AppState,
    strangers::{Holder, Stranger},
};

/// A new person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Registration {
    /// Their e-mail address.
    #[schema(max_length = 254, format = Email)]
    email: String,
    /// At least ten characters.
    #[schema(value_type = String, format = Password, min_length = 10, max_length = 200)]
    password: SecretString,
    /// Their name, for people: one line.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: String,
}

/// The proof of an address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// The address.
    #[schema(max_length = 254, format = Email)]
    email: String,
    /// The code from the mail.
    #[schema(value_type = String, max_length = 200)]
    code: SecretString,
}

/// An address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The address.
    #[schema(max_length = 254, format = Email)]
    pub(super) email: String,
}

/// Who signs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The address.
    #[schema(max_length = 254, format = Email)]
    email: String,
    /// The password.
    #[schema(value_type = String, format = Password, max_length = 200)]
    password: SecretString,
    /// From the authenticator app, or a recovery code; when the person has a second factor.
    #[schema(value_type = Option<String>, max_length = 200)]
    code: Option<SecretString>,
    /// The account to work in; the person's first when absent.
    #[schema(value_type = Option<schemas::AccountId>)]
    account_id: Option<AccountId>,
}

/// A refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// From the last sign-in or refresh; good once.
    #[schema(value_type = String, format = Password, max_length = 4096)]
    refresh_token: SecretString,
}

/// A session to end.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Logout {
    /// From the last sign-in or refresh.
    #[schema(value_type = String, format = Password, max_length = 4096)]
    refresh_token: SecretString,
    /// True ends all sessions of the person, not only this one.
    #[serde(default)]
    everywhere: bool,
}

/// Tokens of a signed-in person.
#[derive(Serialize, ToSchema)]
pub struct TokenPair {
    /// For `Authorization: Bearer`.
    access_token: String,
    /// `Bearer`.
    token_type: &'static str,
    /// How long the access token lives.
    expires_in_seconds: u64,
    /// Exchanged once for a new pair.
    refresh_token: String,
    /// Who.
    #[schema(value_type = schemas::UserId)]
    user_id: UserId,
    /// The account that they work in; after a refresh of a session in a user pool, their first.
    #[schema(value_type = schemas::AccountId)]
    account_id: AccountId,
}

/// A person whose address is proved.
#[derive(Serialize, ToSchema)]
pub struct VerifiedUser {
    /// Who.
    #[schema(value_type = schemas::UserId)]
    user_id: UserId,
}

/// That the request was taken.
#[derive(Serialize, ToSchema)]
pub struct Taken {
    /// `taken`.
    status: &'static str,
}

/// Makes a person and mails a code that proves the address.
///
/// The answer is the same whether or not the address is known already.
#[utoipa::path(post, path = "/auth/register", request_body = Registration, responses(
    (status = 202, description = "If the address is new, a code is on its way.", body = Taken),
    (status = 429, description = "Too many attempts; `Retry-After` says when to come back.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn register(state: Data<AppState>, _: Stranger, body: Body<Registration>) -> Result<HttpResponse, Problem> {
    let Registration { email, password, name } = body.value;
    state.ports.identity.register(&email, &password, &name).await?;
    Ok(taken())
}

/// Proves an address by the code from the mail; makes the person's first account.
#[utoipa::path(post, path = "/auth/verify", request_body = Verification, responses(
    (status = 200, description = "The person can sign in now.", body = VerifiedUser),
    (status = 401, description = "The code is wrong, used or expired.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 429, description = "Too many attempts; `Retry-After` says when to come back.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn verify(state: Data<AppState>, _: Stranger, body: Body<Verification>) -> Answer<VerifiedUser> {
    let Verification { email, code } = body.value;
    let user_id = state.ports.identity.verify(&email, &code).await.map_err(refused)?;
    Ok(Json(VerifiedUser { user_id }))
}

/// Mails a new code, if the address waits for one.
#[utoipa::path(post, path = "/auth/verify/resend", request_body = Address, responses(
    (status = 202, description = "If the address waits for a code, one is on its way.", body = Taken),
    (status = 429, description = "Too many attempts; `Retry-After` says when to come back.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn resend(state: Data<AppState>, _: Stranger, body: Body<Address>) -> Result<HttpResponse, Problem> {
    state.ports.identity.resend(&body.value.email).await?;
    Ok(taken())
}

/// Signs in.
#[utoipa::path(post, path = "/auth/login", request_body = Login, responses(
    (status = 200, description = "Signed in.", body = TokenPair),
    (status = 401, description = "Address, password or code are wrong, or the address is not proved. With the code \
        `second_factor_required`, address and password are right: send them again with `code`.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 429, description = "Too many attempts; `Retry-After` says when to come back.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn login(state: Data<AppState>, stranger: Stranger, body: Body<Login>) -> Answer<TokenPair> {
    let Login { email, password, code, account_id } = body.value;
    let identity = &state.ports.identity;
    let signed_in = match identity.sign_in(&email, &password, account_id, stranger.from).await.map_err(refused)? {
        SignIn::Done(signed_in) => signed_in,
        SignIn::SecondFactor(challenge) => {
            let code = code.ok_or_else(second_factor_required)?;
            identity.answer(&challenge.token, &code).await.map_err(refused)?
        }
    };
    record(&state, &signed_in, ActivityKind::UserSignedIn).await?;
    if let Some(left) = signed_in.recovery_codes_left {
        tell(&state, signed_in.user_id, |user, at| recovery_code_used(&user.email, &user.name, left, at)).await;
    }
    Ok(Json(TokenPair::of(&signed_in)))
}

/// Exchanges a refresh token for a new pair. Using one twice ends every session that came from it.
#[utoipa::path(post, path = "/auth/refresh", request_body = Refresh, responses(
    (status = 200, description = "A new pair.", body = TokenPair),
    (status = 401, description = "The token is unknown, used or expired.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 429, description = "Too many attempts; `Retry-After` says when to come back.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn refresh(state: Data<AppState>, holder: Holder, body: Body<Refresh>) -> Answer<TokenPair> {
    let refreshed = state.ports.identity.refresh(&body.value.refresh_token).await;
    let signed_in = holder.judged(&state, refreshed).map_err(refused)?;
    Ok(Json(TokenPair::of(&signed_in)))
}

/// Exchanges the caller's refresh token for a pair that works in another account of theirs: one that they are a member of, or one below
/// such an account. Their role there is read with each request.
#[utoipa::path(post, path = "/accounts/{id}/switch", request_body = Refresh,
    params(("id" = String, Path, description = "The account's id.")), responses(
    (status = 200, description = "A new pair.", body = TokenPair)))]
pub async fn switch(
    state: Data<AppState>,
    caller: Caller,
    id: Path<AccountId>,
    body: Body<Refresh>,
) -> Answer<TokenPair> {
    role_in(&state.store, &state.system, caller.user_id, *id).await?.ok_or_else(Problem::not_found)?;
    let switched = state.ports.identity.switch(&body.value.refresh_token, caller.user_id, *id).await;
    // Who calls is known: it is the body that is wrong.
    let switched = switched.map_err(|error| match error.kind() {
        ErrorKind::Denied => Problem::invalid_field("/refresh_token", error.message()),
        _ => error.into(),
    })?;
    record(&state, &switched, ActivityKind::UserSignedIn).await?;
    Ok(Json(TokenPair::of(&switched)))
}

/// Ends the session of a refresh token, or all of its person. Access tokens end by themselves, within 15 minutes.
#[utoipa::path(post, path = "/auth/logout", request_body = Logout, responses(
    (status = 204, description = "Signed out."),
    (status = 401, description = "All sessions are to end, and the token is unknown, used or expired.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 429, description = "Too many attempts; `Retry-After` says when to come back.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn logout(state: Data<AppState>, holder: Holder, body: Body<Logout>) -> Result<HttpResponse, Problem> {
    let (identity, Logout { refresh_token, everywhere }) = (&state.ports.identity, body.value);
    if everywhere {
        // A token that is good once proves the person.
        let proved = holder.judged(&state, identity.refresh(&refresh_token).await).map_err(refused)?;
        let person = Person { user_id: proved.user_id, access_token: &proved.access_token };
        identity.sign_out_everywhere(person).await?;
        record(&state, &proved, ActivityKind::UserSignedOut).await?;
    } else {
        holder.judged(&state, identity.sign_out(&refresh_token).await)?;
    }
    Ok(HttpResponse::NoContent().finish())
}

impl TokenPair {
    fn of(signed_in: &SignedIn) -> Self {
        Self {
            access_token: signed_in.access_token.expose_secret().to_owned(),
            token_type: "Bearer",
            expires_in_seconds: signed_in.expires_in.as_secs(),
            refresh_token: signed_in.refresh_token.expose_secret().to_owned(),
            user_id: signed_in.user_id,
            account_id: signed_in.account_id,
        }
    }
}

/// A sign-in that fails is about credentials (401), not about rights (403).
pub(super) fn refused(error: Error) -> Problem {
    match error.kind() {
        ErrorKind::Denied => Problem::new(StatusCode::UNAUTHORIZED, "sign_in_refused", error.message()),
        _ => error.into(),
    }
}

fn second_factor_required() -> Problem {
    let detail = "send the sign-in again with `code`: the one that the authenticator app shows, or a recovery code";
    Problem::new(StatusCode::UNAUTHORIZED, "second_factor_required", detail)
}

/// The answer to what is done, if at all, without telling.
pub(super) fn taken() -> HttpResponse {
    HttpResponse::Accepted().json(Taken { status: "taken" })
}

async fn record(state: &AppState, signed_in: &SignedIn, kind: ActivityKind) -> Result<(), Problem> {
    let scope = state.system.account(signed_in.account_id);
    let actor = signed_in.user_id.to_string();
    let left = signed_in.recovery_codes_left.map(|left| ("recoveryCodesLeft".to_owned(), left.into()));
    let told = event::event(&state.ports, signed_in.account_id, kind, &actor, Subject::default(), Map::from_iter(left));
    Ok(commit(state, &scope, Vec::new(), told).await?)
}
