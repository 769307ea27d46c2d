//! OAuth apps: what an account and all below it sign in to a product with, where the settings of a source name no OAuth client. Their
//! secrets are never shown.

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind,
    connectors::SignIn,
    model::{AccountId, ActivityKind, OAuthApp},
    run::{
        connect::{Found, integration_named},
        event::Subject,
        oauth_apps::{App, Nearest, Reach, nearest, removal, set},
    },
    store::key,
};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    body::Body,
    caller::Caller,
    changes::{commit, told},
    etag::{ETag, IfMatch},
    problem::Problem,
    schemas,
    state::AppState,
};

/// An OAuth app to use.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOAuthApp {
    /// The id of the OAuth client, as the product shows it.
    #[schema(min_length = 1, max_length = 500, pattern = "^[!-~]([ -~]*[!-~])?$")]
    client_id: String,
    /// Its secret. It is not shown again.
    #[schema(value_type = String, min_length = 8, max_length = 2000, pattern = "^[!-~]([ -~]*[!-~])?$")]
    client_secret: SecretString,
    /// The hosts that the secret may be sent to: `api.example.com`, `*.example.com` for all below it, `crm.example.com:8443` where it is
    /// not https on 443. A source whose settings name another host is not connected with this app.
    #[schema(min_items = 1, max_items = 50)]
    hosts: Vec<String>,
}

/// The OAuth app that counts here, without its secret.
#[derive(Serialize, ToSchema)]
pub struct OAuthAppView {
    /// The id of the OAuth client.
    client_id: String,
    /// The hosts that its secret may be sent to.
    hosts: Vec<String>,
    /// Where it comes from: `account` (this one), `above`, or `platform`: whoever runs this server has it for all accounts.
    #[schema(value_type = schemas::OAuthAppOrigin)]
    origin: &'static str,
    /// The account that has it; none of the platform's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::AccountId>)]
    account_id: Option<AccountId>,
    /// When it was set last; unknown of the platform's.
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<Timestamp>,
}

/// The OAuth app that sources of this integration sign in by, if their settings name no OAuth client: the account's own, that of the
/// nearest account above, or the platform's. Integrations of an account's own take none from above that account.
#[utoipa::path(get, path = "/integrations/{name}/oauth/app",
    params(("name" = String, Path, description = "The integration's name.")),
    responses((status = 200, description = "The app, with its `ETag`.", body = OAuthAppView)))]
pub async fn read(state: Data<AppState>, caller: Caller, name: Path<String>) -> Result<HttpResponse, Problem> {
    let found = integration_named(&state.ctx, caller.scope(), &name).await?;
    // What is left of an integration that was removed is the account's own affair.
    let reach = found.map_or(Reach::UpTo(caller.account_id()), |found| found.reach);
    let app = nearest(&state.ctx, caller.account_id(), &name, reach).await?.ok_or_else(Problem::not_found)?;
    Ok(answer(&caller, &app))
}

/// Sets the account's own OAuth app for an integration. It holds for the account and all below it until one of these has its own. With
/// another secret of the same client, sources go on; with another client, they wait for a new sign-in.
#[utoipa::path(put, path = "/integrations/{name}/oauth/app",
    params(("name" = String, Path, description = "The integration's name.")), request_body = NewOAuthApp, responses(
    (status = 200, description = "The app as it is now.", body = OAuthAppView),
    (status = 409, description = "The integration does not sign in by OAuth, or another change came first.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 412, description = "It has changed since it was read.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn replace(
    state: Data<AppState>,
    caller: Caller,
    name: Path<String>,
    if_match: IfMatch,
    body: Body<NewOAuthApp>,
) -> Result<HttpResponse, Problem> {
    let found = integration_named(&state.ctx, caller.scope(), &name).await?;
    let Found { integration, reach, .. } = found.ok_or_else(Problem::not_found)?;
    if !matches!(integration.spec().sign_in, SignIn::OAuth2(_)) {
        return Err(Problem::conflict("this integration does not sign in by OAuth, so it needs no OAuth app"));
    }
    let NewOAuthApp { client_id, client_secret, hosts } = body.value;
    let app = App::checked(&client_id, client_secret, &hosts)?;
    let account_id = caller.account_id();
    let present = nearest(&state.ctx, account_id, &name, reach).await?;
    if_match.check(&present.as_ref().map_or_else(|| ETag::of("none"), tag))?;
    let before = match present {
        Some(Nearest::Account(found)) if found.row.account_id == account_id => Some(*found),
        _ => None,
    };
    let unchanged = before.clone();
    let row = match set(&state.ports, account_id, &name, &app, before).await? {
        Some((row, write)) => {
            let told = told(&state, &caller, ActivityKind::IntegrationAppSet, Subject::default(), details(&row));
            commit(&state, caller.scope(), vec![write], told).await.map_err(met)?;
            row
        }
        None => unchanged.ok_or_else(Problem::not_found)?.row,
    };
    Ok(of_row(&caller, &row))
}

/// Removes the account's own OAuth app for an integration. Sources that were signed in by it wait for a new sign-in, by the app that
/// counts from then on.
#[utoipa::path(delete, path = "/integrations/{name}/oauth/app",
    params(("name" = String, Path, description = "The integration's name.")), responses(
    (status = 204, description = "Removed."),
    (status = 409, description = "Another change came first.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn delete(state: Data<AppState>, caller: Caller, name: Path<String>) -> Result<HttpResponse, Problem> {
    let place = key(caller.account_id(), OAuthApp::sort_key(&name));
    let found = state.store.find::<OAuthApp>(caller.scope(), place).await?.ok_or_else(Problem::not_found)?;
    let told = told(&state, &caller, ActivityKind::IntegrationAppRemoved, Subject::default(), details(&found.row));
    commit(&state, caller.scope(), vec![removal(&found)], told).await.map_err(met)?;
    Ok(HttpResponse::NoContent().finish())
}

fn tag(app: &Nearest) -> ETag {
    match app {
        Nearest::Account(found) => tag_of(&found.row),
        Nearest::Platform(app) => ETag::of(format!("platform {} {}", app.client_id, app.hosts.names().join(" "))),
    }
}

fn tag_of(row: &OAuthApp) -> ETag {
    ETag::of(format!("{} {}", row.account_id, row.updated_at))
}

fn answer(caller: &Caller, app: &Nearest) -> HttpResponse {
    match app {
        Nearest::Account(found) => of_row(caller, &found.row),
        Nearest::Platform(of_all) => {
            let (client_id, hosts) = (of_all.client_id.clone(), of_all.hosts.names());
            let view = OAuthAppView { client_id, hosts, origin: "platform", account_id: None, updated_at: None };
            tag(app).answer(StatusCode::OK, &view)
        }
    }
}

fn of_row(caller: &Caller, row: &OAuthApp) -> HttpResponse {
    let view = OAuthAppView {
        client_id: row.client_id.clone(),
        hosts: row.hosts.clone(),
        origin: if row.account_id == caller.account_id() { "account" } else { "above" },
        account_id: Some(row.account_id),
        updated_at: Some(row.updated_at),
    };
    tag_of(row).answer(StatusCode::OK, &view)
}

fn details(app: &OAuthApp) -> [(&'static str, serde_json::Value); 3] {
    [("name", json!(app.integration)), ("client_id", json!(app.client_id)), ("hosts", json!(app.hosts))]
}

/// Two people at once: whoever was second has not seen what the first one did.
fn met(error: Error) -> Problem {
    match error.kind() {
        ErrorKind::Conflict => Problem::conflict("this OAuth app changed meanwhile; look at it and try again"),
        _ => error.into(),
    }
}
