//! How our integrations keep the contract, as `listbackup connector test` grades them: on recordings of their fixtures, with
//! the table in `connectors/README.md` beside it. Time is the runtime's, so that no wait is waited for.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use listbackup_connectors::{
    conformance::{self, Grade, Report, Subject},
    http::AddressGuard,
    oauth::MemoryCredentials,
};

use crate::tapes::Tape;

async fn graded(name: &str) -> Report {
    let tape = Arc::new(Tape::of(name));
    let wire = {
        let tape = Arc::clone(&tape);
        move || tape.wire()
    };
    let subject = Subject {
        integration: Arc::clone(&tape.integration),
        settings: tape.settings.clone(),
        wire: Box::new(wire),
        guard: AddressGuard::person(),
        credentials: Arc::new(MemoryCredentials::empty()),
        streams: Vec::new(),
        may_write: false,
    };
    conformance::run(&subject).await.unwrap()
}

fn mark(grade: Grade) -> &'static str {
    match grade {
        Grade::Kept => "kept",
        Grade::Broken => "broken",
        Grade::NotObserved => "–",
    }
}

/// The column of `name` in the table of the README: marks by the line's number.
fn promised(name: &str) -> BTreeMap<u8, String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut rows =
        readme.lines().skip_while(|line| !line.starts_with("| line | ")).take_while(|line| line.starts_with('|'));
    let head = cells(rows.next().expect("the table of grades in connectors/README.md"));
    let column = head.iter().position(|cell| cell == name).unwrap_or_else(|| panic!("{name} has no column"));
    let rows = rows.map(cells).filter_map(|row| Some((row[0].parse().ok()?, row[column].clone())));
    rows.collect()
}

async fn grade_stands_in_the_readme(name: &str) {
    let report = graded(name).await;
    let broken: Vec<_> = report.lines.iter().filter(|line| line.grade == Grade::Broken).collect();
    assert!(broken.is_empty(), "{name}: {broken:#?}");
    let measured: BTreeMap<u8, String> =
        report.lines.iter().map(|line| (line.number, mark(line.grade).to_owned())).collect();
    let promised = promised(name);
    let is_told = |number: &u8, mark: &String| promised.contains_key(number) || mark != "–";
    let measured: BTreeMap<u8, String> = measured.into_iter().filter(|(number, mark)| is_told(number, mark)).collect();
    assert_eq!(measured, promised, "{name}: the table in connectors/README.md is to be what was measured");
}

#[tokio::test(start_paused = true)]
async fn the_grade_of_activecampaign_is_as_told() {
    grade_stands_in_the_readme("activecampaign").await;
}

#[tokio::test(start_paused = true)]
async fn the_grade_of_gohighlevel_is_as_told() {
    grade_stands_in_the_readme("gohighlevel").await;
}

#[tokio::test(start_paused = true)]
async fn the_grade_of_hubspot_is_as_told() {
    grade_stands_in_the_readme("hubspot").await;
}

#[tokio::test(start_paused = true)]
async fn the_grade_of_keap_is_as_told() {
    grade_stands_in_the_readme("keap").await;
}

#[tokio::test(start_paused = true)]
async fn the_grade_of_mailchimp_is_as_told() {
    grade_stands_in_the_readme("mailchimp").await;
}

#[tokio::test(start_paused = true)]
async fn the_grade_of_shopify_is_as_told() {
    grade_stands_in_the_readme("shopify").await;
}

#[tokio::test(start_paused = true)]
async fn the_grade_of_stripe_is_as_told() {
    grade_stands_in_the_readme("stripe").await;
}

#[tokio::test(start_paused = true)]
async fn the_grade_of_zendesk_is_as_told() {
    grade_stands_in_the_readme("zendesk").await;
}
