//! What can be connected: integrations that ship with the program, and those of accounts' own.

use actix_web::web::{Data, Json, Path};
use listbackup_engine::{
    connectors::{Integration, SignIn, Spec},
    model::{AccountId, OwnIntegration},
    run::{
        oauth_apps::{AtHand, Reach, nearest},
        own_integrations,
    },
};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Answer;
use crate::{caller::Caller, paging::Page, problem::Problem, schemas, state::AppState};

/// A kind of product that can be connected.
#[derive(Serialize, ToSchema)]
pub struct IntegrationView {
    /// Its name, as a source names it.
    name: String,
    /// Its name for people.
    title: String,
    /// What it is.
    description: String,
    /// How a person signs in.
    #[schema(value_type = schemas::SignIn)]
    sign_in: String,
    /// Of `oauth2` only: whether an OAuth app is at hand, so that settings need not name an OAuth client.
    #[serde(skip_serializing_if = "Option::is_none")]
    has_oauth_app: Option<bool>,
    #[serde(flatten)]
    origin: Origin,
}

/// A kind of product that can be connected, with what it must be told.
#[derive(Serialize, ToSchema)]
pub struct IntegrationDetail {
    /// Its name, as a source names it.
    name: String,
    /// Its name for people.
    title: String,
    /// What it is.
    description: String,
    /// How a person signs in: `oauth2` begins at `POST /integrations/{name}/oauth/start`.
    #[schema(value_type = schemas::SignIn)]
    sign_in: String,
    /// Of `oauth2` only: whether an OAuth app is at hand, so that settings need not name an OAuth client.
    #[serde(skip_serializing_if = "Option::is_none")]
    has_oauth_app: Option<bool>,
    #[serde(flatten)]
    origin: Origin,
    /// Scopes that an OAuth sign-in asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    scopes: Vec<String>,
    /// Names of its streams, as far as they are known without settings.
    streams: Vec<String>,
    /// JSON schema (draft 7) of a source's settings; secret fields carry `airbyte_secret`.
    #[schema(value_type = schemas::JsonObject)]
    settings_schema: Value,
}

/// Where an integration comes from.
#[derive(Serialize, ToSchema)]
pub struct Origin {
    /// `builtin`: it ships with the program. `account`: somebody uploaded it.
    #[schema(value_type = schemas::IntegrationOrigin)]
    origin: &'static str,
    /// Of an uploaded one: the account that has it, this one or one above.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::AccountId>)]
    account_id: Option<AccountId>,
    /// Of an uploaded one: its current version, which runs use.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
}

/// What can be connected.
#[utoipa::path(get, path = "/integrations", responses(
    (status = 200, description = "All integrations, by name: those that ship with the program, and those that this account or one \
        above has uploaded.", body = Page<IntegrationView>)))]
pub async fn list(state: Data<AppState>, caller: Caller) -> Answer<Page<IntegrationView>> {
    let builtin = state.ctx.registry.list();
    let own = own_integrations::all(&state.store, &state.system, caller.account_id()).await?;
    let apps = AtHand::of(&state.ctx, caller.account_id()).await?;
    // One of ours goes before one of the same name, as when a source is connected.
    let own = own
        .into_iter()
        .filter(|own| state.ctx.registry.get(&own.name).is_none())
        .map(|own| IntegrationView::of_own(own, &apps));
    let mut all: Vec<_> = builtin.iter().map(|integration| IntegrationView::of(integration.spec(), &apps)).collect();
    all.extend(own);
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(Page::whole(all)))
}

/// One integration, with its settings schema.
#[utoipa::path(get, path = "/integrations/{name}", params(("name" = String, Path, description = "The integration's name.")),
    responses((status = 200, description = "The integration.", body = IntegrationDetail)))]
pub async fn read(state: Data<AppState>, caller: Caller, name: Path<String>) -> Answer<IntegrationDetail> {
    if let Some(integration) = state.ctx.registry.get(&name) {
        let app = nearest(&state.ctx, caller.account_id(), &name, Reach::All).await?;
        return Ok(Json(IntegrationDetail::of(&*integration, Origin::builtin(), app.is_some())));
    }
    let found = own_integrations::find(&state.store, &state.system, caller.account_id(), &name).await?;
    let own = found.ok_or_else(Problem::not_found)?.row;
    let integration = own_integrations::load(&state.ctx, &own).await?;
    let app = nearest(&state.ctx, caller.account_id(), &name, Reach::UpTo(own.account_id)).await?;
    Ok(Json(IntegrationDetail::of(&*integration, Origin::of(&own), app.is_some())))
}

impl IntegrationView {
    fn of(spec: &Spec, apps: &AtHand) -> Self {
        let is_oauth = matches!(spec.sign_in, SignIn::OAuth2(_));
        Self {
            has_oauth_app: is_oauth.then(|| apps.have(&spec.name, Reach::All)),
            name: spec.name.clone(),
            title: spec.title.clone(),
            description: spec.description.clone(),
            sign_in: sign_in_word(&spec.sign_in).to_owned(),
            origin: Origin::builtin(),
        }
    }

    fn of_own(own: OwnIntegration, apps: &AtHand) -> Self {
        let origin = Origin::of(&own);
        let OwnIntegration { account_id, name, title, description, sign_in, .. } = own;
        let has_oauth_app = (sign_in == "oauth2").then(|| apps.have(&name, Reach::UpTo(account_id)));
        Self { name, title, description, sign_in, has_oauth_app, origin }
    }
}

impl IntegrationDetail {
    fn of(integration: &dyn Integration, origin: Origin, has_app: bool) -> Self {
        let spec = integration.spec();
        let scopes = match &spec.sign_in {
            SignIn::OAuth2(sign_in) => sign_in.scopes.clone(),
            SignIn::None | SignIn::Settings => Vec::new(),
        };
        Self {
            name: spec.name.clone(),
            title: spec.title.clone(),
            description: spec.description.clone(),
            sign_in: sign_in_word(&spec.sign_in).to_owned(),
            has_oauth_app: matches!(spec.sign_in, SignIn::OAuth2(_)).then_some(has_app),
            origin,
            scopes,
            streams: integration.streams(),
            settings_schema: spec.settings_schema.clone(),
        }
    }
}

impl Origin {
    fn builtin() -> Self {
        Self { origin: "builtin", account_id: None, version: None }
    }

    fn of(own: &OwnIntegration) -> Self {
        Self { origin: "account", account_id: Some(own.account_id), version: Some(own.version) }
    }
}

/// How a person signs in, in a word.
pub fn sign_in_word(sign_in: &SignIn) -> &'static str {
    match sign_in {
        SignIn::None => "none",
        SignIn::Settings => "settings",
        SignIn::OAuth2(_) => "oauth2",
    }
}
