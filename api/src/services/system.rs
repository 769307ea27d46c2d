//! Is it alive, can it serve, what is it, and how is it used.

use std::collections::BTreeMap;

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
    web::{Data, Json},
};
use listbackup_engine::{
    Result,
    model::{Account, AccountId},
    ports::QueueName,
    store::key1,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{caller::Caller, problem::Problem, server::OpenApiJson, state::AppState};

/// That the process is alive.
#[derive(Serialize, ToSchema)]
pub struct Health {
    /// `alive`.
    status: &'static str,
}

/// Whether the process can serve.
#[derive(Serialize, ToSchema)]
pub struct Readiness {
    /// `ready`, or `not_ready` when a component fails.
    status: &'static str,
    /// `ok` or `failing`, by component.
    components: BTreeMap<&'static str, &'static str>,
}

/// What serves, since when, and how its components are.
#[derive(Serialize, ToSchema)]
pub struct Status {
    /// `ready` or `not_ready`.
    status: &'static str,
    /// The version of this process.
    version: &'static str,
    /// When it began to serve.
    started_at: jiff::Timestamp,
    /// The services that it serves.
    services: Vec<&'static str>,
    /// `ok` or `failing`, by component.
    components: BTreeMap<&'static str, &'static str>,
}

/// What this is.
#[derive(Serialize, ToSchema)]
pub struct Version {
    /// `listbackup`.
    name: &'static str,
    /// The version of this process.
    version: &'static str,
}

/// The process is alive.
///
/// Asks nothing of any store: a failing store is a matter of readiness.
#[utoipa::path(get, path = "/system/health", responses((status = 200, description = "Alive.", body = Health)))]
pub async fn health() -> Json<Health> {
    Json(Health { status: "alive" })
}

/// The process can serve, with all that it depends on.
#[utoipa::path(get, path = "/system/ready", responses(
    (status = 200, description = "Ready.", body = Readiness),
    (status = 503, description = "A component fails, or the process is stopping.", body = Readiness)))]
pub async fn ready(state: Data<AppState>) -> HttpResponse {
    let components = components(&state).await;
    let is_ready = is_ready(&components) && !state.stopping.is_cancelled();
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    HttpResponse::build(status).json(Readiness { status: word(is_ready), components })
}

/// What serves here, since when, and how its components are.
#[utoipa::path(get, path = "/system/status", responses((status = 200, description = "The status.", body = Status)))]
pub async fn status(state: Data<AppState>, _caller: Caller) -> Json<Status> {
    let components = components(&state).await;
    Json(Status {
        status: word(is_ready(&components)),
        version: env!("CARGO_PKG_VERSION"),
        started_at: state.started_at,
        services: state.settings.services.iter().map(|service| service.as_str()).collect(),
        components,
    })
}

/// Name and version.
#[utoipa::path(get, path = "/system/version", responses((status = 200, description = "What this is.", body = Version)))]
pub async fn version() -> Json<Version> {
    Json(Version { name: "listbackup", version: env!("CARGO_PKG_VERSION") })
}

/// This document.
#[utoipa::path(get, path = "/system/openapi.json", responses(
    (status = 200, description = "The OpenAPI document.", body = crate::schemas::JsonObject)))]
pub async fn openapi(document: Data<OpenApiJson>) -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document.0.clone())
}

/// Metrics in the text format of Prometheus.
///
/// For whoever runs the process: from the same machine, or with the token of its settings.
#[utoipa::path(get, path = "/metrics", responses(
    (status = 200, description = "The metrics.", body = String, content_type = "text/plain"),
    (status = 404, description = "The caller does not run this process.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn metrics(state: Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(state.metrics.render())
}

/// The public keys that access tokens are checked with (JWKS, RFC 7517).
#[utoipa::path(get, path = "/.well-known/jwks.json", responses(
    (status = 200, description = "The keys.", body = crate::schemas::JsonObject)))]
pub async fn jwks(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let document = state.ports.identity.jwks().await?;
    Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "public, max-age=300")).json(document))
}

fn word(is_ready: bool) -> &'static str {
    if is_ready { "ready" } else { "not_ready" }
}

fn is_ready(components: &BTreeMap<&'static str, &'static str>) -> bool {
    components.values().all(|state| *state == "ok")
}

/// Asks every store for something that is not there: the cheapest question that needs all of it to work.
async fn components(state: &AppState) -> BTreeMap<&'static str, &'static str> {
    let nobody = AccountId::derived(0, [0; 10]);
    let scope = state.system.account(nobody);
    let tables = state.store.find::<Account>(&scope, key1(nobody)).await.map(drop);
    let queue = state.ports.queue.dead_letters(QueueName::Jobs, None, 0).await.map(drop);
    let blobs = state.ports.blobs.list(&scope, &format!("accounts/{nobody}/"), None, 1).await.map(drop);
    let identity = state.ports.identity.jwks().await.map(drop);
    [("tables", tables), ("queue", queue), ("blobs", blobs), ("identity", identity)]
        .into_iter()
        .map(|(name, answer)| (name, state_of(name, answer)))
        .collect()
}

fn state_of(component: &str, answer: Result<()>) -> &'static str {
    match answer {
        Ok(()) => "ok",
        Err(error) => {
            tracing::warn!(component, %error, "a component fails");
            "failing"
        }
    }
}
