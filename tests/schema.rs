//! The OpenAPI document, proved from outside: by a validator, by schemathesis, by clients that others' generators make of it, and by
//! the list of routes in the design.

#[path = "schema/clients.rs"]
mod clients;
#[path = "schema/design.rs"]
mod design;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "these tests export nothing")]
mod program;
#[path = "support/running.rs"]
mod running;
#[path = "schema/served.rs"]
mod served;
#[path = "support/servers/mod.rs"]
mod servers;

use served::{Served, here};
use tokio::process::Command;

/// Requests drawn for each route and phase; `LISTBACKUP_SCHEMA_EXAMPLES` asks for more.
const EXAMPLES: u32 = 10;
/// What the examples are drawn from, unless `LISTBACKUP_TEST_SEED` names another.
const SEED: u32 = 20_261_128;

#[tokio::test]
async fn the_served_document_is_valid_openapi() {
    let validator = match servers::tool("openapi-spec-validator") {
        Ok(validator) => validator,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let served = Served::start().await;
    let document = served.write_document().await;
    assert_eq!(served.document["openapi"], "3.1.0");
    let mut command = Command::new(validator);
    program::run(command.args(["--schema", "3.1"]).arg(document)).await;
}

#[tokio::test]
async fn the_api_keeps_what_its_document_says() {
    let schemathesis = match servers::tool("schemathesis") {
        Ok(schemathesis) => schemathesis,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let (examples, seed) = (number("LISTBACKUP_SCHEMA_EXAMPLES", EXAMPLES), number("LISTBACKUP_TEST_SEED", SEED));
    println!(
        "{examples} examples a route, seed {seed}: LISTBACKUP_SCHEMA_EXAMPLES={examples} LISTBACKUP_TEST_SEED={seed}"
    );
    let served = Served::start().await;
    let person = served.person_with_a_backup().await;
    let mut command = Command::new(schemathesis);
    command.arg("--config-file").arg(here("schemathesis.toml")).arg("run");
    command.arg(format!("{}/system/openapi.json", served.url()));
    command.args(["--max-examples", &examples.to_string(), "--seed", &seed.to_string()]);
    // Hooks are a module, found on Python's path; what the tools write down stays out of the tree.
    command.env("SCHEMATHESIS_HOOKS", "hooks").env("PYTHONPATH", here("")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("LISTBACKUP_URL", served.url());
    command.env("LISTBACKUP_EMAIL", &person.email).env("LISTBACKUP_PASSWORD", &person.password);
    let told = program::run(command.current_dir(served.directory())).await;
    let told = String::from_utf8_lossy(&told);
    println!("{}", told.split_once(" SUMMARY ").map_or(&*told, |(_, summary)| summary));
}

fn number(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}
