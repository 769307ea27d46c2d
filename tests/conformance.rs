//! The conformance run: our own connector keeps the contract, and each breach of it is caught.

#[path = "conformance/clerk.rs"]
mod clerk;
#[path = "conformance/sinner.rs"]
mod sinner;

use std::sync::Arc;

use clerk::{Clerk, Slip, office};
use listbackup::sandbox::{Sandbox, SandboxSettings};
use listbackup_connectors::{
    Integration,
    conformance::{self, Grade, Report, Subject},
    http::{AddressGuard, Wire},
    oauth::MemoryCredentials,
    registry::Registry,
};
use serde_json::{Value, json};
use sinner::{Sin, Sinner, product};

async fn tried(integration: Arc<dyn Integration>, settings: Value) -> Report {
    let subject = Subject {
        integration,
        settings,
        wire: Box::new(|| Ok(Wire::default())),
        guard: AddressGuard::person(),
        credentials: Arc::new(MemoryCredentials::empty()),
        streams: Vec::new(),
        may_write: true,
    };
    conformance::run(&subject).await.expect("it can be tried")
}

/// All of them in one task, whose turns are not counted: where they are used up, tokio's locks let nobody in, and a mock server that is
/// dropped then waits for one of them without end.
async fn side_by_side<T>(trials: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    tokio::task::unconstrained(futures::future::join_all(trials)).await
}

#[track_caller]
fn assert_whole(report: &Report, seen: &[u8]) {
    let broken: Vec<_> = report.lines.iter().filter(|line| line.grade == Grade::Broken).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    let unseen: Vec<_> = seen.iter().filter(|line| report.grade(**line) != Grade::Kept).collect();
    assert!(unseen.is_empty(), "nothing was seen of {unseen:?}: {report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_s_own_manifest_gets_full_marks() {
    let settings = SandboxSettings { records: 2_000, ..SandboxSettings::default() };
    let sandbox = Sandbox::start(settings).await.expect("it starts");
    let integration = Registry::ours().expect("ours").get("sandbox").expect("it ships");
    let settings = json!({
        "base_url": sandbox.url(),
        "credentials": { "auth_type": "api_key", "api_key": "sandbox-key" },
    });
    let report = tried(integration, settings).await;
    assert_whole(
        &report,
        &[1, 2, 3, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 20, 22, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 36, 38],
    );
    sandbox.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_in_rust_that_keeps_the_contract_gets_full_marks() {
    let server = product().await;
    let report = tried(Sinner::with(None), sinner::settings(&server)).await;
    assert_whole(&report, &[1, 2, 3, 4, 5, 8, 9, 11, 13, 14, 15, 16, 17, 18, 19, 20, 22, 24, 25, 26]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_breach_of_the_contract_is_caught_on_its_line() {
    let server = product().await;
    let trials = Sin::ALL.into_iter().map(|(sin, line)| {
        let settings = sinner::settings(&server);
        async move { (sin, line, tried(Sinner::with(Some(sin)), settings).await) }
    });
    let mut missed = Vec::new();
    for (sin, line, report) in side_by_side(trials).await {
        if report.grade(line) != Grade::Broken || report.is_whole() {
            let broken: Vec<u8> =
                report.lines.iter().filter(|line| line.grade == Grade::Broken).map(|line| line.number).collect();
            missed.push(format!("{sin:?} is not caught on line {line}, but on {broken:?}"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_breach_about_files_and_writing_is_caught_on_its_line_and_nothing_else_is_blamed() {
    let slips = Slip::ALL.map(|(slip, line)| (Some(slip), line)).into_iter().chain([(None, 0)]);
    let trials = slips.map(|(slip, line)| async move {
        let server = office().await;
        (slip, line, tried(Clerk::with(slip), json!({ "base_url": server.uri() })).await)
    });
    let mut missed = Vec::new();
    for (slip, line, report) in side_by_side(trials).await {
        let broken: Vec<u8> =
            report.lines.iter().filter(|line| line.grade == Grade::Broken).map(|line| line.number).collect();
        let expected = match slip {
            // What a record is after a write is seen by reading it.
            Some(Slip::ReadsOneOtherwise) => vec![34, line],
            Some(_) => vec![line],
            None => Vec::new(),
        };
        if broken != expected {
            missed.push(format!("{slip:?}: {broken:?} instead of {expected:?}"));
        }
        if slip.is_none() {
            assert_whole(&report, &[27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38]);
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
