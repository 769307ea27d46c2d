//! Passwords: a new one by a mailed code, and another one while signed in.

use actix_web::{HttpResponse, web::Data};
use listbackup_engine::{
    ErrorKind, letters,
    model::{ActivityKind, Membership, UserId},
    ports::{Query, SortRange},
    run::event::{self, Subject},
    tables::USERS_ACCOUNTS,
};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Map;
use utoipa::ToSchema;

use super::{
    auth::{Address, Taken, refused, taken},
    own_letters::tell,
};
use crate::{
    body::Body,
    caller::{AccessToken, Caller},
    changes::{commit, told},
    problem::Problem,
    state::AppState,
    strangers::Stranger,
};

/// A new password for an address.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reset {
    /// The address.
    #[schema(max_length = 254, format = Email)]
    email: String,
    /// The code from the mail.
    #[schema(value_type = String, max_length = 200)]
    code: SecretString,
    /// The new password, at least ten characters.
    #[schema(value_type = String, format = Password, min_length = 10, max_length = 200)]
    password: SecretString,
}

/// Another password for the caller.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The present one.
    #[schema(value_type = String, format = Password, max_length = 200)]
    old_password: SecretString,
    /// The new one, at least ten characters.
    #[schema(value_type = String, format = Password, min_length = 10, max_length = 200)]
    new_password: SecretString,
}

/// Mails a code that sets a new password.
///
/// The answer is the same whether or not the address is known.
#[utoipa::path(post, path = "/auth/reset", request_body = Address, responses(
    (status = 202, description = "If the address is known, a code is on its way.", body = Taken),
    (status = 429, description = "Too many attempts; `Retry-After` says when to come back.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn request_reset(state: Data<AppState>, _: Stranger, body: Body<Address>) -> Result<HttpResponse, Problem> {
    state.ports.identity.request_reset(&body.value.email).await?;
    Ok(taken())
}

/// Sets a new password by the code from the mail. All sessions of the person end; a second factor stays.
#[utoipa::path(post, path = "/auth/reset/confirm", request_body = Reset, responses(
    (status = 204, description = "The new password is set."),
    (status = 401, description = "The code is wrong, used or expired.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 429, description = "Too many attempts; `Retry-After` says when to come back.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn reset(state: Data<AppState>, stranger: Stranger, body: Body<Reset>) -> Result<HttpResponse, Problem> {
    let Reset { email, code, password } = body.value;
    let user_id = state.ports.identity.reset(&email, &code, &password, stranger.from).await.map_err(refused)?;
    record_reset(&state, user_id).await?;
    tell(&state, user_id, |user, at| letters::password_changed(&user.email, &user.name, at)).await;
    Ok(HttpResponse::NoContent().finish())
}

/// Changes the caller's password. All of their sessions end, this one's access token within 15 minutes.
#[utoipa::path(post, path = "/auth/password", request_body = PasswordChange, responses(
    (status = 204, description = "The new password is set."),
    (status = 429, description = "Too many attempts; `Retry-After` says when to come back.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn change(
    state: Data<AppState>,
    caller: Caller,
    token: AccessToken,
    body: Body<PasswordChange>,
) -> Result<HttpResponse, Problem> {
    let PasswordChange { old_password, new_password } = body.value;
    let changed = state.ports.identity.change_password(token.of(&caller), &old_password, &new_password).await;
    changed.map_err(|error| match error.kind() {
        ErrorKind::Denied => Problem::invalid_field("/old_password", "is not the present password"),
        ErrorKind::Invalid => {
            let wrong = error.problems().first().map_or(error.message(), |problem| &problem.message);
            Problem::invalid_field("/new_password", wrong)
        }
        _ => error.into(),
    })?;
    let told = told(&state, &caller, ActivityKind::UserPasswordChanged, Subject::default(), []);
    commit(&state, caller.scope(), Vec::new(), told).await?;
    tell(&state, caller.user_id, |user, at| letters::password_changed(&user.email, &user.name, at)).await;
    Ok(HttpResponse::NoContent().finish())
}

/// In the log of the person's first account.
async fn record_reset(state: &AppState, user_id: UserId) -> Result<(), Problem> {
    let query = Query {
        table: &USERS_ACCOUNTS,
        index: None,
        partition: user_id.to_string(),
        sort: SortRange::All,
        descending: false,
        limit: 1,
        after: None,
    };
    let first = state.store.query::<Membership>(&state.system, query).await?.rows.pop();
    let Some(account_id) = first.map(|found| found.row.account_id) else { return Ok(()) };
    let (kind, actor) = (ActivityKind::UserPasswordReset, user_id.to_string());
    let told = event::event(&state.ports, account_id, kind, &actor, Subject::default(), Map::new());
    Ok(commit(state, &state.system.account(account_id), Vec::new(), told).await?)
}
