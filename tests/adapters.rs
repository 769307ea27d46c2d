//! What the ports promise, kept by the embedded stores; and what only these promise: one writer, a private directory,
//! and nothing lost when the process is killed or the disk is full.

#[path = "support/authenticator.rs"]
mod authenticator;
#[path = "support/embedded/mod.rs"]
mod embedded;
#[path = "support/memory/mod.rs"]
mod memory;
#[path = "support/suites/mod.rs"]
mod suites;
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use suites::identity::Signing;
use support::{Embedded, Subject};

#[tokio::test(start_paused = true)]
async fn rows_are_kept_as_promised() {
    suites::tables::keeps_all(&Embedded::new().subject()).await;
}

#[tokio::test(start_paused = true)]
async fn messages_are_delivered_as_promised() {
    suites::queue::keeps_all(&Embedded::new().subject()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_are_stored_as_promised() {
    suites::blobs::keeps_all(&Embedded::new().subject()).await;
}

#[tokio::test]
async fn keys_and_secrets_are_sealed_as_promised() {
    suites::keys::keeps_all(&Embedded::new().subject()).await;
}

#[tokio::test(start_paused = true)]
async fn events_reach_followers_as_promised() {
    suites::events::keeps_all(&Embedded::new().subject()).await;
}

#[tokio::test(start_paused = true)]
async fn people_sign_in_as_promised() {
    let embedded = Embedded::new();
    let mail_dir = embedded.stores.mail_dir();
    let signing = Signing { subject: &embedded.subject(), letters: &|email| letters_to(&mail_dir, email) };
    suites::identity::keeps_all(&signing).await;
}

/// The stores that simulations run on make the same promises.
#[tokio::test(start_paused = true)]
async fn stores_in_memory_keep_the_promises_of_rows_messages_objects_and_events() {
    let embedded = Embedded::new();
    let subject = Subject::new(memory::stores(&embedded.stores.ports()));
    suites::tables::keeps_all(&subject).await;
    suites::queue::keeps_all(&subject).await;
    suites::blobs::keeps_all(&subject).await;
    suites::events::keeps_all(&subject).await;
}

fn letters_to(mail_dir: &Path, email: &str) -> Vec<String> {
    let mut paths: Vec<PathBuf> = fs::read_dir(mail_dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let line = format!("\nTo: {email}\n");
    paths.iter().map(|path| fs::read_to_string(path).unwrap()).filter(|text| text.contains(&line)).collect()
}
