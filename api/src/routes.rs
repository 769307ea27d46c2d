//! Every route, with who may call it. The server, the documentation and the tests all read this table.

use std::collections::BTreeSet;

use actix_web::{FromRequest, Handler, Responder, http::Method, web};
use listbackup_engine::model::role::Action::{Administer, Bill, Operate, Own, Read};
use utoipa::openapi::{Paths, RefOr, schema::Schema};
use utoipa_actix_web::OpenApiFactory;

use crate::{
    caller::Guard::{self, May, Member, Open, Operator, Person, PersonMay},
    services::{
        accounts, activity, activity_chain, activity_export, analytics, analytics_sources, auth, billing,
        billing_changes, billing_contacts, billing_invoices, billing_webhooks, connections, data_keys, dead_letters,
        diffs, exports, files, health, hierarchy, histories, integrations, invitations, jobs, keys, marks, me, members,
        oauth_apps, own_integrations, passwords, records, restores, runs, schedules, search, second_factor, sign_ins,
        snapshots, source_actions, sources, system, usage, verify, webhook_deliveries, webhooks,
    },
    state::Service,
};

/// One route.
pub struct Route {
    /// The service that it belongs to.
    pub service: Service,
    /// The verb.
    pub method: Method,
    /// The path, with `{names}`.
    pub path: &'static str,
    /// Who may call it.
    pub guard: Guard,
    /// Makes its handler.
    pub handler: Box<dyn Fn() -> actix_web::Route + Send + Sync>,
    /// Its documentation.
    pub paths: Paths,
    /// Schemas that its documentation refers to.
    pub schemas: Vec<(String, RefOr<Schema>)>,
}

/// The routes of these services. The system's own routes are part of every process.
///
/// A path with a fixed word comes before one with a name in the same place: the first that fits is taken.
pub fn served(services: &BTreeSet<Service>) -> Vec<Route> {
    let all = [
        auth_routes(),
        account_routes(),
        integration_routes(),
        source_routes(),
        job_routes(),
        data_routes(),
        activity_routes(),
        billing_routes(),
        analytics_routes(),
        webhook_routes(),
        system_routes(),
    ];
    let is_served = |route: &Route| route.service == Service::System || services.contains(&route.service);
    all.into_iter().flatten().filter(is_served).collect()
}

fn auth_routes() -> Vec<Route> {
    let [get, post, patch, delete] = verbs(Service::Auth);
    vec![
        post.at("/auth/register", Open, auth::register, &auth::__path_register),
        post.at("/auth/verify", Open, auth::verify, &auth::__path_verify),
        post.at("/auth/verify/resend", Open, auth::resend, &auth::__path_resend),
        post.at("/auth/login", Open, auth::login, &auth::__path_login),
        post.at("/auth/refresh", Open, auth::refresh, &auth::__path_refresh),
        post.at("/auth/logout", Open, auth::logout, &auth::__path_logout),
        post.at("/auth/reset", Open, passwords::request_reset, &passwords::__path_request_reset),
        post.at("/auth/reset/confirm", Open, passwords::reset, &passwords::__path_reset),
        post.at("/auth/password", Person, passwords::change, &passwords::__path_change),
        post.at("/auth/mfa/setup", Person, second_factor::set_up, &second_factor::__path_set_up),
        post.at("/auth/mfa/enable", Person, second_factor::enable, &second_factor::__path_enable),
        post.at("/auth/mfa/disable", Person, second_factor::disable, &second_factor::__path_disable),
        get.at("/auth/me", Member, me::read, &me::__path_read),
        patch.at("/auth/me", Member, me::update, &me::__path_update),
        get.at("/auth/accounts", Member, me::accounts, &me::__path_accounts),
        get.at("/auth/keys", May(Administer), keys::list, &keys::__path_list),
        post.at("/auth/keys", PersonMay(Administer), keys::create, &keys::__path_create),
        delete.at("/auth/keys/{id}", PersonMay(Administer), keys::delete, &keys::__path_delete),
        get.at("/.well-known/jwks.json", Open, system::jwks, &system::__path_jwks),
    ]
}

fn account_routes() -> Vec<Route> {
    let [get, post, patch, delete] = verbs(Service::Accounts);
    vec![
        get.at("/accounts", May(Read), accounts::list, &accounts::__path_list),
        post.at("/accounts", Person, accounts::create, &accounts::__path_create),
        get.at("/accounts/{id}", May(Read), accounts::read, &accounts::__path_read),
        delete.at("/accounts/{id}", PersonMay(Own), accounts::delete, &accounts::__path_delete),
        delete.at("/accounts/{id}/deletion", PersonMay(Own), accounts::keep, &accounts::__path_keep),
        post.at("/accounts/{id}/switch", Person, auth::switch, &auth::__path_switch),
        patch.at("/accounts/{id}", May(Administer), accounts::update, &accounts::__path_update),
        get.at("/accounts/{id}/keys", May(Administer), data_keys::list, &data_keys::__path_list),
        post.at("/accounts/{id}/keys/rotate", May(Administer), data_keys::rotate, &data_keys::__path_rotate),
        post.at("/accounts/{id}/keys/destroy", PersonMay(Own), data_keys::destroy, &data_keys::__path_destroy),
        post.at("/accounts/invitations/accept", Person, invitations::accept, &invitations::__path_accept),
        get.at("/accounts/{id}/hierarchy", May(Read), hierarchy::list, &hierarchy::__path_list),
        post.at("/accounts/{id}/children", May(Administer), hierarchy::create, &hierarchy::__path_create),
        post.at("/accounts/{id}/move", May(Administer), hierarchy::relocate, &hierarchy::__path_relocate),
        get.at("/accounts/{id}/usage", May(Read), usage::read, &usage::__path_read),
        get.at("/accounts/{id}/members", May(Read), members::list, &members::__path_list),
        patch.at("/accounts/{id}/members/{user}", May(Administer), members::update, &members::__path_update),
        delete.at("/accounts/{id}/members/{user}", Member, members::delete, &members::__path_delete),
        get.at("/accounts/{id}/invitations", May(Administer), invitations::list, &invitations::__path_list),
        post.at("/accounts/{id}/invitations", May(Administer), invitations::create, &invitations::__path_create),
        delete.at(
            "/accounts/{id}/invitations/{invitation}",
            May(Administer),
            invitations::delete,
            &invitations::__path_delete,
        ),
        post.at(
            "/accounts/{id}/invitations/{invitation}/resend",
            May(Administer),
            invitations::resend,
            &invitations::__path_resend,
        ),
    ]
}

fn integration_routes() -> Vec<Route> {
    let [get, post, _, delete] = verbs(Service::Integrations);
    let put = Verb(Service::Integrations, Method::PUT);
    vec![
        get.at("/integrations", May(Read), integrations::list, &integrations::__path_list),
        post.at("/integrations", May(Administer), own_integrations::create, &own_integrations::__path_create),
        get.at("/integrations/oauth/callback", Open, sign_ins::callback, &sign_ins::__path_callback),
        get.at("/integrations/{name}", May(Read), integrations::read, &integrations::__path_read),
        delete.at("/integrations/{name}", May(Administer), own_integrations::delete, &own_integrations::__path_delete),
        post.at("/integrations/{name}/oauth/start", May(Operate), sign_ins::start, &sign_ins::__path_start),
        get.at("/integrations/{name}/oauth/app", May(Administer), oauth_apps::read, &oauth_apps::__path_read),
        put.at("/integrations/{name}/oauth/app", May(Administer), oauth_apps::replace, &oauth_apps::__path_replace),
        delete.at("/integrations/{name}/oauth/app", May(Administer), oauth_apps::delete, &oauth_apps::__path_delete),
    ]
}

fn source_routes() -> Vec<Route> {
    let [get, post, patch, delete] = verbs(Service::Sources);
    vec![
        get.at("/sources", May(Read), sources::list, &sources::__path_list),
        post.at("/sources", May(Operate), sources::create, &sources::__path_create),
        get.at("/sources/health", May(Read), health::list, &health::__path_list),
        get.at("/sources/{id}", May(Read), sources::read, &sources::__path_read),
        patch.at("/sources/{id}", May(Operate), sources::update, &sources::__path_update),
        delete.at("/sources/{id}", May(Operate), sources::delete, &sources::__path_delete),
        get.at("/sources/{id}/health", May(Read), health::read, &health::__path_read),
        get.at("/sources/{id}/streams", May(Read), connections::streams, &connections::__path_streams),
        post.at("/sources/{id}/test", May(Operate), connections::test, &connections::__path_test),
        post.at("/sources/{id}/sync", May(Operate), source_actions::sync, &source_actions::__path_sync),
        post.at("/sources/{id}/pause", May(Operate), source_actions::pause, &source_actions::__path_pause),
        post.at("/sources/{id}/resume", May(Operate), source_actions::resume, &source_actions::__path_resume),
        post.at("/sources/{id}/reconnect", May(Operate), sign_ins::reconnect, &sign_ins::__path_reconnect),
    ]
}

fn job_routes() -> Vec<Route> {
    let [get, post, patch, delete] = verbs(Service::Jobs);
    vec![
        get.at("/jobs", May(Read), jobs::list, &jobs::__path_list),
        post.at("/jobs", May(Operate), jobs::create, &jobs::__path_create),
        post.at("/jobs/schedule/preview", May(Read), schedules::preview, &schedules::__path_preview),
        get.at("/jobs/dead-letters", May(Read), dead_letters::list, &dead_letters::__path_list),
        post.at("/jobs/dead-letters/{id}/redrive", May(Operate), dead_letters::redrive, &dead_letters::__path_redrive),
        get.at("/jobs/{id}", May(Read), jobs::read, &jobs::__path_read),
        patch.at("/jobs/{id}", May(Operate), jobs::update, &jobs::__path_update),
        delete.at("/jobs/{id}", May(Operate), jobs::delete, &jobs::__path_delete),
        get.at("/jobs/{id}/schedule", May(Read), schedules::fire_times, &schedules::__path_fire_times),
        post.at("/jobs/{id}/run", May(Operate), runs::start, &runs::__path_start),
        post.at("/jobs/{id}/pause", May(Operate), jobs::pause, &jobs::__path_pause),
        post.at("/jobs/{id}/resume", May(Operate), jobs::resume, &jobs::__path_resume),
        get.at("/jobs/{id}/runs", May(Read), runs::list, &runs::__path_list),
        get.at("/runs/{id}", May(Read), runs::read, &runs::__path_read),
        get.at("/runs/{id}/events", May(Read), runs::events, &runs::__path_events),
        post.at("/runs/{id}/cancel", May(Operate), runs::cancel, &runs::__path_cancel),
        post.at("/runs/{id}/retry", May(Operate), runs::retry, &runs::__path_retry),
    ]
}

fn data_routes() -> Vec<Route> {
    const RECORDS: &str = "/data/snapshots/{id}/streams/{stream}/records";
    const RECORD: &str = "/data/snapshots/{id}/streams/{stream}/records/{key}";
    const DIFF: &str = "/data/snapshots/{id}/diff/{other}";
    const STREAM_DIFF: &str = "/data/snapshots/{id}/diff/{other}/streams/{stream}";
    let [get, post, _, delete] = verbs(Service::Data);
    vec![
        get.at("/data/exports", May(Read), exports::list, &exports::__path_list),
        post.at("/data/exports", May(Read), exports::create, &exports::__path_create),
        get.at("/data/exports/{id}", May(Read), exports::read, &exports::__path_read),
        get.at("/data/exports/{id}/download", May(Read), exports::download, &exports::__path_download),
        get.at("/data/files", May(Read), files::list, &files::__path_list),
        get.at("/data/files/{id}", May(Read), files::read, &files::__path_read),
        get.at("/data/files/{id}/download", May(Read), files::download, &files::__path_download),
        get.at("/data/records/history", May(Read), histories::list, &histories::__path_list),
        get.at("/data/search", May(Read), search::search, &search::__path_search),
        get.at("/data/snapshots", May(Read), snapshots::list, &snapshots::__path_list),
        get.at("/data/snapshots/{id}", May(Read), snapshots::read, &snapshots::__path_read),
        post.at("/data/snapshots/{id}/pin", May(Operate), marks::pin, &marks::__path_pin),
        delete.at("/data/snapshots/{id}/pin", May(Operate), marks::unpin, &marks::__path_unpin),
        post.at("/data/snapshots/{id}/hold", May(Administer), marks::hold, &marks::__path_hold),
        delete.at("/data/snapshots/{id}/hold", May(Administer), marks::release, &marks::__path_release),
        get.at(DIFF, May(Read), diffs::summary, &diffs::__path_summary),
        get.at(STREAM_DIFF, May(Read), diffs::records, &diffs::__path_records),
        post.at("/data/snapshots/{id}/restore", May(Operate), restores::create, &restores::__path_create),
        get.at("/data/restores", May(Read), restores::list, &restores::__path_list),
        get.at("/data/restores/{id}", May(Read), restores::read, &restores::__path_read),
        get.at("/data/restores/{id}/records", May(Read), restores::records, &restores::__path_records),
        post.at("/data/snapshots/{id}/verify", May(Operate), verify::verify, &verify::__path_verify),
        get.at(RECORDS, May(Read), records::browse, &records::__path_browse),
        get.at(RECORD, May(Read), records::read, &records::__path_read),
    ]
}

fn activity_routes() -> Vec<Route> {
    let [get, ..] = verbs(Service::Activity);
    vec![
        get.at("/activity", May(Read), activity::list, &activity::__path_list),
        get.at("/activity/chain", May(Read), activity_chain::read, &activity_chain::__path_read),
        get.at("/activity/verify", May(Read), activity_chain::verify, &activity_chain::__path_verify),
        get.at("/activity/export", May(Read), activity_export::export, &activity_export::__path_export),
        get.at("/activity/stream", May(Read), activity::stream, &activity::__path_stream),
    ]
}

fn billing_routes() -> Vec<Route> {
    let [get, post, _, delete] = verbs(Service::Billing);
    let put = Verb(Service::Billing, Method::PUT);
    vec![
        get.at("/billing/plans", Member, billing::plans, &billing::__path_plans),
        get.at("/billing/subscription", May(Bill), billing::subscription, &billing::__path_subscription),
        get.at("/billing/usage", May(Bill), billing::usage, &billing::__path_usage),
        post.at("/billing/subscription", May(Bill), billing_changes::change, &billing_changes::__path_change),
        delete.at("/billing/subscription", May(Bill), billing_changes::cancel, &billing_changes::__path_cancel),
        post.at("/billing/checkout", May(Bill), billing_changes::check_out, &billing_changes::__path_check_out),
        post.at("/billing/portal", May(Bill), billing_changes::portal, &billing_changes::__path_portal),
        get.at("/billing/invoices", May(Bill), billing_invoices::list, &billing_invoices::__path_list),
        get.at("/billing/payment-methods", May(Bill), billing_invoices::cards, &billing_invoices::__path_cards),
        get.at("/billing/contacts", May(Bill), billing_contacts::read, &billing_contacts::__path_read),
        put.at("/billing/contacts", May(Bill), billing_contacts::replace, &billing_contacts::__path_replace),
        post.at("/billing/webhooks", Open, billing_webhooks::take, &billing_webhooks::__path_take),
    ]
}

fn analytics_routes() -> Vec<Route> {
    let [get, ..] = verbs(Service::Analytics);
    vec![
        get.at("/analytics/overview", May(Read), analytics::overview, &analytics::__path_overview),
        get.at("/analytics/runs", May(Read), analytics::runs, &analytics::__path_runs),
        get.at("/analytics/storage", May(Read), analytics::storage, &analytics::__path_storage),
        get.at("/analytics/sources", May(Read), analytics_sources::list, &analytics_sources::__path_list),
    ]
}

fn webhook_routes() -> Vec<Route> {
    const REDELIVER: &str = "/webhooks/{id}/deliveries/{delivery}/redeliver";
    let [get, post, patch, delete] = verbs(Service::Webhooks);
    vec![
        get.at("/webhooks", May(Administer), webhooks::list, &webhooks::__path_list),
        post.at("/webhooks", May(Administer), webhooks::create, &webhooks::__path_create),
        get.at("/webhooks/{id}", May(Administer), webhooks::read, &webhooks::__path_read),
        patch.at("/webhooks/{id}", May(Administer), webhooks::update, &webhooks::__path_update),
        delete.at("/webhooks/{id}", May(Administer), webhooks::delete, &webhooks::__path_delete),
        get.at(
            "/webhooks/{id}/deliveries",
            May(Administer),
            webhook_deliveries::list,
            &webhook_deliveries::__path_list,
        ),
        post.at(REDELIVER, May(Administer), webhook_deliveries::redeliver, &webhook_deliveries::__path_redeliver),
    ]
}

fn system_routes() -> Vec<Route> {
    let [get, ..] = verbs(Service::System);
    vec![
        get.at("/system/health", Open, system::health, &system::__path_health),
        get.at("/system/ready", Open, system::ready, &system::__path_ready),
        get.at("/system/status", Member, system::status, &system::__path_status),
        get.at("/system/version", Open, system::version, &system::__path_version),
        get.at("/system/openapi.json", Open, system::openapi, &system::__path_openapi),
        get.at("/metrics", Operator, system::metrics, &system::__path_metrics),
    ]
}

/// A verb in a service: the first words of a line of the table.
struct Verb(Service, Method);

fn verbs(service: Service) -> [Verb; 4] {
    [Method::GET, Method::POST, Method::PATCH, Method::DELETE].map(|method| Verb(service, method))
}

impl Verb {
    fn at<F, Args>(&self, path: &'static str, guard: Guard, handler: F, docs: &impl OpenApiFactory) -> Route
    where
        F: Handler<Args> + Send + Sync,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let Self(service, method) = self;
        let mut schemas = Vec::new();
        docs.schemas(&mut schemas);
        let verb = method.clone();
        let handler = Box::new(move || web::method(verb.clone()).to(handler.clone()));
        Route { service: *service, method: method.clone(), path, guard, handler, paths: docs.paths(), schemas }
    }
}
