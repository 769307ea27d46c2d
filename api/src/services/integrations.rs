//! What can be connected.

use actix_web::web::{Data, Json, Path};
use listbackup_engine::connectors::{SignIn, Spec};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Answer;
use crate::{paging::Page, problem::Problem, schemas, state::AppState};

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
    sign_in: &'static str,
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
    sign_in: &'static str,
    /// Scopes that an OAuth sign-in asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    scopes: Vec<String>,
    /// JSON schema (draft 7) of a source's settings; secret fields carry `airbyte_secret`.
    #[schema(value_type = schemas::JsonObject)]
    settings_schema: Value,
}

/// What can be connected.
#[utoipa::path(get, path = "/integrations", responses(
    (status = 200, description = "All integrations, by name.", body = Page<IntegrationView>)))]
pub async fn list(state: Data<AppState>) -> Json<Page<IntegrationView>> {
    let all = state.ctx.registry.list();
    Json(Page::whole(all.iter().map(|integration| IntegrationView::of(integration.spec())).collect()))
}

/// One integration, with its settings schema.
#[utoipa::path(get, path = "/integrations/{name}", params(("name" = String, Path, description = "The integration's name.")),
    responses((status = 200, description = "The integration.", body = IntegrationDetail)))]
pub async fn read(state: Data<AppState>, name: Path<String>) -> Answer<IntegrationDetail> {
    let integration = state.ctx.registry.get(&name).ok_or_else(Problem::not_found)?;
    Ok(Json(IntegrationDetail::of(integration.spec())))
}

impl IntegrationView {
    fn of(spec: &Spec) -> Self {
        Self {
            name: spec.name.clone(),
            title: spec.title.clone(),
            description: spec.description.clone(),
            sign_in: word(&spec.sign_in),
        }
    }
}

impl IntegrationDetail {
    fn of(spec: &Spec) -> Self {
        let scopes = match &spec.sign_in {
            SignIn::OAuth2(sign_in) => sign_in.scopes.clone(),
            SignIn::None | SignIn::Settings => Vec::new(),
        };
        Self {
            name: spec.name.clone(),
            title: spec.title.clone(),
            description: spec.description.clone(),
            sign_in: word(&spec.sign_in),
            scopes,
            settings_schema: spec.settings_schema.clone(),
        }
    }
}

fn word(sign_in: &SignIn) -> &'static str {
    match sign_in {
        SignIn::None => "none",
        SignIn::Settings => "settings",
        SignIn::OAuth2(_) => "oauth2",
    }
}
