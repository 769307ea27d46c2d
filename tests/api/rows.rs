//! One row a route: what it is called with, when it is called by somebody of whom only their role matters.

use listbackup::{
    routes::{Route, served},
    state::Service,
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::{
    App, Person,
    client::{Answer, Caller, send},
};

/// Routes that are sent without a body.
const WITHOUT_BODY: &[&str] = &[
    "POST /auth/mfa/setup",
    "GET /auth/me",
    "GET /auth/accounts",
    "GET /auth/keys",
    "DELETE /auth/keys/{id}",
    "GET /.well-known/jwks.json",
    "GET /accounts",
    "GET /accounts/{id}",
    "DELETE /accounts/{id}",
    "DELETE /accounts/{id}/deletion",
    "GET /accounts/{id}/keys",
    "POST /accounts/{id}/keys/rotate",
    "GET /accounts/{id}/hierarchy",
    "GET /accounts/{id}/usage",
    "GET /accounts/{id}/members",
    "DELETE /accounts/{id}/members/{user}",
    "GET /accounts/{id}/invitations",
    "DELETE /accounts/{id}/invitations/{invitation}",
    "POST /accounts/{id}/invitations/{invitation}/resend",
    "GET /integrations",
    "GET /integrations/oauth/callback",
    "GET /integrations/{name}",
    "DELETE /integrations/{name}",
    "GET /integrations/{name}/oauth/app",
    "DELETE /integrations/{name}/oauth/app",
    "GET /sources",
    "GET /sources/health",
    "GET /sources/{id}",
    "DELETE /sources/{id}",
    "GET /sources/{id}/health",
    "GET /sources/{id}/streams",
    "POST /sources/{id}/test",
    "POST /sources/{id}/sync",
    "POST /sources/{id}/pause",
    "POST /sources/{id}/resume",
    "POST /sources/{id}/reconnect",
    "GET /jobs",
    "GET /jobs/dead-letters",
    "POST /jobs/dead-letters/{id}/redrive",
    "GET /jobs/{id}",
    "DELETE /jobs/{id}",
    "GET /jobs/{id}/schedule",
    "POST /jobs/{id}/run",
    "POST /jobs/{id}/pause",
    "POST /jobs/{id}/resume",
    "GET /jobs/{id}/runs",
    "GET /runs/{id}",
    "GET /runs/{id}/events",
    "POST /runs/{id}/cancel",
    "POST /runs/{id}/retry",
    "GET /data/exports",
    "GET /data/exports/{id}",
    "GET /data/exports/{id}/download",
    "GET /data/files",
    "GET /data/files/{id}",
    "GET /data/files/{id}/download",
    "GET /data/records/history",
    "GET /data/search",
    "GET /data/snapshots",
    "GET /data/snapshots/{id}",
    "DELETE /data/snapshots/{id}/pin",
    "DELETE /data/snapshots/{id}/hold",
    "GET /data/snapshots/{id}/diff/{other}",
    "GET /data/snapshots/{id}/diff/{other}/streams/{stream}",
    "GET /data/restores",
    "GET /data/restores/{id}",
    "GET /data/restores/{id}/records",
    "GET /data/snapshots/{id}/streams/{stream}/records",
    "GET /data/snapshots/{id}/streams/{stream}/records/{key}",
    "GET /activity",
    "GET /analytics/overview",
    "GET /analytics/runs",
    "GET /analytics/storage",
    "GET /analytics/sources",
    "GET /accounts/{id}/usage",
    "GET /billing/plans",
    "GET /billing/subscription",
    "DELETE /billing/subscription",
    "GET /billing/usage",
    "GET /billing/invoices",
    "GET /billing/payment-methods",
    "GET /billing/contacts",
    "GET /activity/chain",
    "GET /activity/verify",
    "GET /activity/export",
    "GET /activity/stream",
    "GET /webhooks",
    "GET /webhooks/{id}",
    "DELETE /webhooks/{id}",
    "GET /webhooks/{id}/deliveries",
    "POST /webhooks/{id}/deliveries/{delivery}/redeliver",
    "GET /analytics/overview",
    "GET /analytics/runs",
    "GET /analytics/storage",
    "GET /analytics/sources",
    "GET /system/health",
    "GET /system/ready",
    "GET /system/status",
    "GET /system/version",
    "GET /system/openapi.json",
    "GET /metrics",
];

/// Every route of every service.
pub fn all_routes() -> Vec<Route> {
    served(&Service::ALL.into_iter().collect())
}

/// Calls a route with ids of things that are well-formed and in no account, and a body that fits.
pub async fn call(route: &Route, caller: &Caller, ids: &Ids) -> Answer {
    let request = caller.request(route.method.as_str().parse::<Method>().unwrap(), &ids.path(route.path));
    send(match body_of(route, ids) {
        Some(body) => request.json(&body),
        None => request,
    })
    .await
}

/// The things of one account that paths name.
pub struct Ids {
    pub account: String,
    pub source: String,
    pub job: String,
    pub run: String,
    pub key: String,
    pub webhook: String,
    pub file: String,
    pub export: String,
    pub restore: String,
    pub snapshot: String,
}

impl Ids {
    /// One of each in a person's account.
    pub async fn of(app: &App, person: &Person) -> Self {
        let source_id = app.source(person, "Shop").await;
        let job = app.job(person, source_id).await;
        let job = job["id"].as_str().unwrap().to_owned();
        let run = person.caller.post(&format!("/jobs/{job}/run"), &json!({})).await;
        let hook = json!({ "url": "https://93.184.216.34/" });
        let webhook = person.caller.post("/webhooks", &hook).await;
        let key = person.caller.post("/auth/keys", &json!({ "name": "k", "role": "viewer" })).await;
        let run = run.expect(202)["id"].as_str().unwrap().to_owned();
        Self {
            account: person.account_id.to_string(),
            source: source_id.to_string(),
            job,
            key: key.expect(201)["id"].as_str().unwrap().to_owned(),
            webhook: webhook.expect(201)["id"].as_str().unwrap().to_owned(),
            file: format!("file{}", &run[3..]),
            export: format!("exp{}", &run[3..]),
            restore: format!("rst{}", &run[3..]),
            snapshot: format!("snap{}", &run[3..]),
            run,
        }
    }

    pub fn path(&self, pattern: &str) -> String {
        let id = match pattern.split('/').nth(1).unwrap_or_default() {
            "accounts" => &self.account,
            "sources" => &self.source,
            "jobs" => &self.job,
            "runs" => &self.run,
            "auth" => &self.key,
            "webhooks" => &self.webhook,
            _ if pattern.starts_with("/data/files") => &self.file,
            _ if pattern.starts_with("/data/exports") => &self.export,
            _ if pattern.starts_with("/data/restores") => &self.restore,
            _ => &self.snapshot,
        };
        pattern
            .replace("{id}", id)
            .replace("{other}", id)
            .replace("{name}", "sandbox")
            .replace("{user}", "usr_0000000001e40r2081040g2081")
            .replace("{invitation}", "inv_0000000001e40r2081040g2081")
            .replace("{delivery}", "dlv_0000000001e40r2081040g2081")
            .replace("{stream}", "contacts")
            .replace("{key}", "1")
    }
}

/// What a route is sent. A route without a row here is one of which nobody knows who may call it.
fn body_of(route: &Route, ids: &Ids) -> Option<Value> {
    if WITHOUT_BODY.contains(&format!("{} {}", route.method, route.path).as_str()) {
        return None;
    }
    Some(match (route.method.as_str(), route.path) {
        ("PATCH", "/accounts/{id}/members/{user}") => json!({ "role": "viewer" }),
        ("PATCH", "/auth/me" | "/accounts/{id}" | "/sources/{id}" | "/jobs/{id}") => json!({ "name": "Other" }),
        ("POST", "/auth/register") => json!({ "email": "no address", "password": "p", "name": "n" }),
        ("POST", "/auth/verify") => json!({ "email": "nobody@example.com", "code": "c" }),
        ("POST", "/auth/verify/resend" | "/auth/reset") => json!({ "email": "nobody@example.com" }),
        ("POST", "/auth/login") => json!({ "email": "nobody@example.com", "password": "p" }),
        ("POST", "/auth/refresh" | "/auth/logout") => json!({ "refresh_token": "lbr_unknown" }),
        ("POST", "/auth/reset/confirm") => {
            json!({ "email": "nobody@example.com", "code": "c", "password": "long enough" })
        }
        ("POST", "/auth/password") => json!({ "old_password": "wrong", "new_password": "another long one" }),
        ("POST", "/auth/mfa/enable" | "/auth/mfa/disable") => json!({ "code": "000000" }),
        ("POST", "/accounts/invitations/accept") => json!({ "code": "unknown" }),
        ("POST", "/auth/keys") => json!({ "name": "k", "role": "viewer" }),
        ("POST", "/sources") => json!({ "name": "s", "integration": "none", "settings": {} }),
        ("POST", "/jobs") => json!({ "source_id": ids.source, "name": "j", "schedule": { "kind": "manual" } }),
        ("POST", "/jobs/schedule/preview") => json!({ "schedule": { "kind": "manual" } }),
        ("POST", "/data/snapshots/{id}/restore") => json!({}),
        ("POST", "/data/exports") => json!({ "snapshot_id": ids.snapshot }),
        ("POST", "/data/snapshots/{id}/pin" | "/data/snapshots/{id}/hold") => json!({ "reason": "r" }),
        ("POST", "/data/snapshots/{id}/verify") => json!({ "level": "structure" }),
        ("POST", "/webhooks") => json!({ "url": "https://93.184.216.34/" }),
        ("PATCH", "/webhooks/{id}") => json!({ "description": "Other" }),
        ("POST", "/accounts") => json!({ "name": "Another" }),
        ("POST", "/accounts/{id}/switch") => json!({ "refresh_token": "lbr_unknown" }),
        ("POST", "/accounts/{id}/children") => json!({ "name": "Below" }),
        ("POST", "/accounts/{id}/move") => json!({ "parent_id": ids.account }),
        ("POST", "/accounts/{id}/invitations") => json!({ "email": "eve@example.com", "role": "viewer" }),
        // Confirmed for another account: every role is to find the keys here.
        ("POST", "/accounts/{id}/keys/destroy") => {
            json!({ "confirm": "acc_0000000001e40r2081040g2081", "reason": "r" })
        }
        ("POST", "/billing/subscription" | "/billing/checkout") => json!({ "plan": "free" }),
        ("POST", "/billing/portal") => json!({}),
        ("PUT", "/billing/contacts") => json!({ "emails": ["money@example.com"] }),
        ("POST", "/billing/webhooks") => json!({ "id": "evt_1" }),
        ("POST", "/integrations") => json!({ "name": "own", "manifest": "{}" }),
        ("PUT", "/integrations/{name}/oauth/app") => {
            json!({ "client_id": "id", "client_secret": "long enough", "hosts": ["a.example"] })
        }
        ("POST", "/integrations/{name}/oauth/start") => json!({ "source_id": ids.source }),
        (method, path) => panic!("{method} {path} is a new route: add a row for it"),
    })
}
