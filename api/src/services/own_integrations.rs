//! Integrations of an account's own: manifests that it uploads, checked as `listbackup connector compat` checks them.

use std::collections::BTreeSet;

use actix_web::{
    HttpResponse,
    http::StatusCode,
    web::{Data, Path},
};
use listbackup_engine::{
    Error, ErrorKind,
    connectors::{Integration, manifest::compat::Finding},
    model::{ActivityKind, OwnIntegration},
    run::{
        event::Subject,
        own_integrations::{NewVersion, Upload, examine, next_version, removal, user_of},
    },
    store::key,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::integrations::sign_in_word;
use crate::{
    body::Body,
    caller::Caller,
    changes::{commit, told},
    problem::{FieldProblem, Problem},
    state::AppState,
};

/// Uploads of other names that are first so often in a row are not racing, something is wrong.
const ATTEMPTS_MAX: u32 = 32;
/// Findings that one answer tells; more would be no help.
const FINDINGS_MAX: usize = 200;
/// Characters of a manifest's own words that are kept beside it.
const WORDS_MAX: usize = 1_000;

/// A manifest to upload.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewIntegration {
    /// How sources name it: a lower-case letter, then lower-case letters, digits, `-` and `_`. A name that the account has uploaded
    /// before gets a further version.
    #[schema(min_length = 1, max_length = 64)]
    name: String,
    /// The low-code manifest: YAML, as text.
    #[schema(min_length = 1, max_length = 524_288)]
    manifest: String,
}

/// A manifest that was uploaded.
#[derive(Serialize, ToSchema)]
pub struct UploadedIntegration {
    /// Its name.
    name: String,
    /// Its version, from 1. The next run of each source uses it.
    version: u32,
    /// The streams that can be read.
    streams: Vec<String>,
    /// Everything that is unsupported in single streams, which then fail, or suspicious.
    warnings: Vec<ManifestWarning>,
}

/// Something about a manifest that does not keep it from running.
#[derive(Serialize, ToSchema)]
pub struct ManifestWarning {
    /// `unsupported`: the stream that it stands in does not run. `suspicious`: probably not what was meant.
    severity: &'static str,
    /// From 1.
    line: u32,
    /// From 1, in characters.
    column: u32,
    /// Where in the tree, such as `streams[0].retriever.requester`.
    path: String,
    /// What is wrong.
    message: String,
    /// What to do about it.
    hint: String,
}

/// Uploads a manifest as an integration of the account's own, or a further version of it; for the account and all accounts below.
#[utoipa::path(post, path = "/integrations", request_body = NewIntegration, responses(
    (status = 200, description = "The current version is this text already.", body = UploadedIntegration),
    (status = 201, description = "Uploaded.", body = UploadedIntegration),
    (status = 409, description = "Another upload of this name came first.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn create(
    state: Data<AppState>,
    caller: Caller,
    body: Body<NewIntegration>,
) -> Result<HttpResponse, Problem> {
    let NewIntegration { name, manifest } = body.value;
    let mut problems: Vec<FieldProblem> = check_name(&state, &name).into_iter().collect();
    let (loaded, report) = examine(name.clone(), manifest.clone()).await?;
    let integration = match loaded {
        Ok(integration) if problems.is_empty() => integration,
        Ok(_) => return Err(Problem::invalid(problems)),
        Err(_) => {
            let unsupported = report.findings.iter().filter(|finding| finding.severity.word() == "unsupported");
            problems.extend(unsupported.take(FINDINGS_MAX).map(|finding| refused(&report.file, finding)));
            return Err(Problem::invalid(problems));
        }
    };
    let broken: BTreeSet<_> = integration.broken().map(|(name, _)| name.to_owned()).collect();
    let streams = integration.streams().into_iter().filter(|stream| !broken.contains(stream)).collect();
    let spec = integration.spec();
    let upload = Upload {
        title: words(&spec.title),
        description: words(&spec.description),
        sign_in: sign_in_word(&spec.sign_in).to_owned(),
        name,
        text: manifest,
    };
    let (own, status) = keep(&state, &caller, upload).await?;
    let warnings = report.findings.into_iter().take(FINDINGS_MAX).map(ManifestWarning::of).collect();
    Ok(HttpResponse::build(status).json(UploadedIntegration {
        name: own.name,
        version: own.version,
        streams,
        warnings,
    }))
}

/// Writes the next version of an integration, or its first one.
async fn keep(state: &AppState, caller: &Caller, upload: Upload) -> Result<(OwnIntegration, StatusCode), Problem> {
    for _ in 0..ATTEMPTS_MAX {
        let next = next_version(&state.store, &state.system, caller.account_id(), upload.clone(), state.now()).await;
        let NewVersion { own, writes } = next.map_err(|error| Problem::from(error).under("/manifest"))?;
        if writes.is_empty() {
            return Ok((own, StatusCode::OK));
        }
        let kind = if own.version == 1 { ActivityKind::IntegrationAdded } else { ActivityKind::IntegrationUpdated };
        let told = told(state, caller, kind, Subject::default(), details(&own));
        let done = commit(state, caller.scope(), writes, told).await;
        let place = key(caller.account_id(), OwnIntegration::sort_key(&own.name));
        let has_lost = done.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict);
        // An integration of another name was first: there may be place for this one too.
        let is_free =
            has_lost && own.version == 1 && state.store.find::<OwnIntegration>(caller.scope(), place).await?.is_none();
        if !is_free {
            return done.map(|()| (own, StatusCode::CREATED)).map_err(met);
        }
    }
    Err(Error::new(ErrorKind::Retry, "others upload integrations all the time; try again").into())
}

/// Removes an integration of the account's own, with all its versions. Snapshots stay.
#[utoipa::path(delete, path = "/integrations/{name}",
    params(("name" = String, Path, description = "The integration's name.")), responses(
    (status = 204, description = "Removed."),
    (status = 409, description = "A source of the account or of one below uses it, or it ships with the program.",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn delete(state: Data<AppState>, caller: Caller, name: Path<String>) -> Result<HttpResponse, Problem> {
    if state.ctx.registry.get(&name).is_some() {
        return Err(Problem::conflict("this integration ships with the program"));
    }
    let place = key(caller.account_id(), OwnIntegration::sort_key(&name));
    let found = state.store.find::<OwnIntegration>(caller.scope(), place).await?.ok_or_else(Problem::not_found)?;
    if let Some(source) = user_of(&state.store, &state.system, &found.row).await? {
        let place = if source.account_id == caller.account_id() { "" } else { " of an account below" };
        let detail = format!("the source {}{place} uses this integration; remove it first", source.source_id);
        return Err(Problem::conflict(detail));
    }
    let told = told(&state, &caller, ActivityKind::IntegrationRemoved, Subject::default(), details(&found.row));
    commit(&state, caller.scope(), removal(&found), told).await.map_err(met)?;
    Ok(HttpResponse::NoContent().finish())
}

fn check_name(state: &AppState, name: &str) -> Option<FieldProblem> {
    let is_lower = |byte: u8| byte.is_ascii_lowercase();
    let is_fit = name.bytes().next().is_some_and(is_lower)
        && name.bytes().all(|byte| is_lower(byte) || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'));
    if !is_fit {
        let detail = "must be a lower-case letter, then lower-case letters, digits, - and _";
        return Some(Problem::field("/name", detail));
    }
    let is_taken = state.ctx.registry.get(name).is_some();
    is_taken.then(|| Problem::field("/name", "is an integration that ships with the program; choose another name"))
}

fn refused(file: &str, finding: &Finding) -> FieldProblem {
    let Finding { line, column, path, message, hint, .. } = finding;
    let space = if path.is_empty() { "" } else { " " };
    let hint = if hint.is_empty() { String::new() } else { format!(" ({hint})") };
    Problem::field("/manifest", format!("{file}:{line}:{column}{space}{path}: {message}{hint}"))
}

impl ManifestWarning {
    fn of(finding: Finding) -> Self {
        let Finding { severity, line, column, path, message, hint } = finding;
        Self { severity: severity.word(), line, column, path, message, hint }
    }
}

fn words(text: &str) -> String {
    text.chars().take(WORDS_MAX).collect()
}

fn details(own: &OwnIntegration) -> [(&'static str, serde_json::Value); 3] {
    [("name", json!(own.name)), ("version", json!(own.version)), ("digest", json!(own.digest))]
}

/// Two people at once: whoever was second has not seen what the first one did.
fn met(error: Error) -> Problem {
    match error.kind() {
        ErrorKind::Conflict => Problem::conflict("this integration changed meanwhile; look at it and try again"),
        _ => error.into(),
    }
}
