//! Invitations into an account.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Json, Path},
};
use jiff::Timestamp;
use listbackup_engine::{
    accounts::{Office, roles::role_in},
    model::{AccountId, Invitation, InvitationId, Role, role::Action},
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answer, me::MyAccount};
use crate::{
    body::{Body, Params},
    caller::{Caller, enter},
    idempotency::IdempotencyKey,
    paging::{Page, PageParams},
    problem::Problem,
    schemas,
    state::AppState,
};

/// Somebody to invite.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvitation {
    /// Their address; nobody else can accept.
    #[schema(max_length = 254, format = Email)]
    email: String,
    /// What they may do.
    #[schema(value_type = schemas::Role)]
    role: Role,
}

/// An invitation that waits for its answer.
#[derive(Serialize, ToSchema)]
pub struct InvitationView {
    /// Its id.
    #[schema(value_type = schemas::InvitationId)]
    id: InvitationId,
    /// The address.
    email: String,
    /// What they may do then.
    #[schema(value_type = schemas::Role)]
    role: Role,
    /// A user's or key's id.
    invited_by: String,
    /// It can be accepted until then, and sent again after.
    expires_at: Timestamp,
    /// When it was made.
    created_at: Timestamp,
}

/// The answer to an invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// The code from the letter.
    #[schema(value_type = String, max_length = 200)]
    code: SecretString,
}

/// The open invitations of an account.
#[utoipa::path(get, path = "/accounts/{id}/invitations", params(PageParams, ("id" = String, Path, description = "The account's id.")),
    responses((status = 200, description = "A page of invitations.", body = Page<InvitationView>)))]
pub async fn list(
    state: Data<AppState>,
    caller: Caller,
    id: Path<AccountId>,
    page: Params<PageParams>,
) -> Answer<Page<InvitationView>> {
    let there = enter(&state, &caller, *id, Action::Administer).await?;
    let mut query = Office::invitations(there.scope());
    (query.limit, query.after) = (page.0.limit(), page.0.cursor);
    let found = state.store.query::<Invitation>(there.scope(), query).await?;
    Ok(Json(Page::of(found, InvitationView::of)))
}

/// Invites an address: a code goes to it, good once, within seven days.
#[utoipa::path(post, path = "/accounts/{id}/invitations", request_body = NewInvitation,
    params(IdempotencyKey, ("id" = String, Path, description = "The account's id.")), responses(
    (status = 201, description = "Invited.", body = InvitationView),
    (status = 402, description = "The plan of who pays allows no more members (`plan_limit`).",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 409, description = "The address is invited or a member's already.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 429, description = "The account has sent too many invitations today; `Retry-After` says when to come back.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn create(
    state: Data<AppState>,
    caller: Caller,
    id: Path<AccountId>,
    idempotency: IdempotencyKey,
    body: Body<NewInvitation>,
) -> Result<HttpResponse, Problem> {
    let there = enter(&state, &caller, *id, Action::Administer).await?;
    let invitation_id = idempotency.id(&state, &there, &body.digest).await?;
    let (actor, NewInvitation { email, role }) = (there.actor(), body.value);
    let invited = state.office().invite(there.acting(&actor), invitation_id, &email, role).await?;
    state.publish(&invited.events);
    Ok(HttpResponse::build(StatusCode::CREATED).json(InvitationView::of(invited.row)))
}

/// Sends an invitation again, with another code; the earlier one is good no more.
#[utoipa::path(post, path = "/accounts/{id}/invitations/{invitation}/resend", params(
    ("id" = String, Path, description = "The account's id."), ("invitation" = String, Path, description = "The invitation's id.")),
    responses((status = 200, description = "Sent.", body = InvitationView),
    (status = 429, description = "It was sent five times within an hour, or the account has sent too many today; `Retry-After` says when \
        to come back.", body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn resend(
    state: Data<AppState>,
    caller: Caller,
    path: Path<(AccountId, InvitationId)>,
) -> Answer<InvitationView> {
    let there = enter(&state, &caller, path.0, Action::Administer).await?;
    let actor = there.actor();
    let sent = state.office().invite_again(there.acting(&actor), path.1).await?;
    Ok(Json(InvitationView::of(sent.row)))
}

/// Takes an invitation back; its code is good no more.
#[utoipa::path(delete, path = "/accounts/{id}/invitations/{invitation}", params(
    ("id" = String, Path, description = "The account's id."), ("invitation" = String, Path, description = "The invitation's id.")),
    responses((status = 204, description = "Taken back.")))]
pub async fn delete(
    state: Data<AppState>,
    caller: Caller,
    path: Path<(AccountId, InvitationId)>,
) -> Result<HttpResponse, Problem> {
    let there = enter(&state, &caller, path.0, Action::Administer).await?;
    let actor = there.actor();
    let revoked = state.office().revoke(there.acting(&actor), path.1).await?;
    state.publish(&revoked.events);
    Ok(HttpResponse::NoContent().finish())
}

/// Accepts an invitation to the caller's address, into whatever account it is for. Sign in there to work in it.
#[utoipa::path(post, path = "/accounts/invitations/accept", request_body = Acceptance, responses(
    (status = 200, description = "The caller is a member of this account now.", body = MyAccount),
    (status = 403, description = "The code is unknown, used, revoked, expired or for another address.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 409, description = "The caller is a member already.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn accept(state: Data<AppState>, caller: Caller, body: Body<Acceptance>) -> Answer<MyAccount> {
    let accepted = state.office().accept(caller.user_id, &body.value.code).await?;
    state.publish(&accepted.events);
    let account_id = accepted.row.account_id;
    let role = role_in(&state.store, &state.system, caller.user_id, account_id).await?;
    let account = MyAccount::find(&state, account_id, role.unwrap_or(accepted.row.role)).await?;
    Ok(Json(account.ok_or_else(Problem::not_found)?))
}

impl InvitationView {
    fn of(invitation: Invitation) -> Self {
        let Invitation { invitation_id, email, role, invited_by, invitation_expires_at, created_at, .. } = invitation;
        Self { id: invitation_id, email, role, invited_by, expires_at: invitation_expires_at, created_at }
    }
}
