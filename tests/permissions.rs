//! `deploy.sh` makes everything from nothing, a fleet works a day on exactly that, and each process asks AWS for what its role
//! allows: for nothing else, and for all of it.

#[path = "permissions/alerts.rs"]
mod alerts;
#[path = "support/authenticator.rs"]
mod authenticator;
#[path = "permissions/billing.rs"]
mod billing;
#[path = "permissions/caller.rs"]
mod caller;
#[path = "permissions/costs.rs"]
mod costs;
#[path = "permissions/credentials.rs"]
mod credentials;
#[path = "permissions/day.rs"]
mod day;
#[path = "permissions/deployed.rs"]
mod deployed;
#[path = "permissions/ended.rs"]
mod ended;
#[path = "permissions/family.rs"]
mod family;
#[path = "permissions/granted.rs"]
mod granted;
#[path = "permissions/needs.rs"]
mod needs;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "these tests have no data directory")]
mod program;
#[path = "permissions/record.rs"]
mod record;
#[path = "support/running.rs"]
mod running;
#[path = "support/servers/mod.rs"]
mod servers;
#[path = "permissions/stored.rs"]
mod stored;
#[path = "deploy/template.rs"]
#[allow(dead_code, reason = "each test binary uses a part of the kit")]
mod template;
#[path = "permissions/time.rs"]
mod time;

use std::collections::BTreeMap;

use caller::Gateway;
use day::Day;
use deployed::Deployed;
use listbackup::state::Service;
use listbackup_engine::adapters::aws::{AwsCredentials, AwsOptions, AwsSettings};
use servers::billing_stripe::BillingStripe;

/// Roles that serve nothing.
const WORKING: [&str; 3] = ["worker", "scheduler", "indexer"];

/// One test, since the account is made once: most of its time are some 40 starts of the aws command.
#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_deploy_sh_made_from_nothing_works_with_the_rights_of_its_roles_and_needs_them_all() {
    let deployed = match Deployed::from_nothing() {
        Ok(deployed) => deployed,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let stripe = BillingStripe::start();
    let mut services = BTreeMap::new();
    for service in Service::ALL {
        services.insert(service.as_str().to_owned(), deployed.process(service.as_str(), &stripe).await);
    }
    let mut working = Vec::new();
    for role in WORKING {
        working.push(deployed.process(role, &stripe).await);
    }
    let settings = settings(&deployed).await;
    let mut day = Day::begin(Gateway::of(services), deployed.record(), &settings, deployed.url()).await;
    let marks = day.back_up().await;
    day.people().await;
    day.family().await;
    let leaving = day.leaves().await;
    day.alerts().await;
    day.sources().await;
    day.integration().await;
    stored::used(&mut day).await;
    stored::restored(&mut day).await;
    day.retention_is_due().await;
    day.jobs().await;
    day.pays(&stripe).await;
    day.looks_around().await;
    day.retention_was_there().await;
    day.has_left(&leaving).await;
    day.ends().await;
    let record = deployed.record();
    record.quiet().await;
    for process in day.api.into_processes().chain(working) {
        assert!(process.stop().success(), "each role ends in good order");
    }
    let requests = record.requests();
    costs::assert_bounded(&requests, &marks);
    granted::assert_exact(&requests, &deployed.task("worker").await.1);
    deployed.assert_all_is_done();
}

/// The stores of the account, for what only time brings otherwise.
async fn settings(deployed: &Deployed) -> AwsSettings {
    let (_, environment) = deployed.task("worker").await;
    let credentials =
        AwsCredentials { access_key_id: "test".to_owned(), secret_access_key: "test".into(), session_token: None };
    AwsSettings::new(AwsOptions {
        stage: environment["LISTBACKUP_STAGE"].clone(),
        region: environment["LISTBACKUP_REGION"].clone(),
        bucket: environment["LISTBACKUP_BUCKET"].clone(),
        endpoint_url: Some(deployed.url()),
        credentials: Some(credentials),
        user_pool_id: Some(environment["LISTBACKUP_USER_POOL_ID"].clone()),
        user_pool_client_id: Some(environment["LISTBACKUP_USER_POOL_CLIENT_ID"].clone()),
        ..AwsOptions::default()
    })
    .expect("the settings are right")
}
