//! What was asked for against what roles allow.

use std::collections::{BTreeMap, BTreeSet};

use listbackup::state::Service;

use crate::{WORKING, record::Request, template::rights_of};

/// Rights that this day does not use: role (`*` for all), start of the action, end of the resource, and why the right is needed.
const UNUSED: &[(&str, &str, &str, &str)] = &[
    ("*", "logs:", "", "the metrics agent beside the program asks for these"),
    ("*", "dynamodb:UpdateItem", "-activity", "one statement for all that serve, some of which change nothing"),
    ("*", "dynamodb:BatchGetItem", "-activity", "one statement for all that serve: who follows events"),
    ("*", "dynamodb:GetItem", "-activity", "one statement for all that serve: who comes back to follow events"),
    ("*", "dynamodb:Query", "-activity/index/chain", "one statement for all that serve: who follows events"),
    ("*", "dynamodb:Query", "-activity/index/by-account", "one statement for all that serve: who lists events"),
    ("*", "sqs:", "-jobs-dead", "readiness of an account with dead letters"),
    ("worker", "ecs:UpdateTaskProtection", "", "asked for through the agent of ECS, which is not here"),
    ("worker", "s3:GetObjectRetention", "", "only with `lock_days`, in a bucket with object lock"),
    ("worker", "s3:PutObjectRetention", "", "only with `lock_days`, in a bucket with object lock"),
    ("worker", "s3:DeleteObject", "/accounts/*", "in a bucket without versions"),
    ("worker", "sqs:ChangeMessageVisibility", "-jobs", "only runs that last longer than a message is hidden"),
    ("worker", "sqs:SendMessage", "-jobs", "only runs that last longer than a queue keeps a message hidden"),
    ("indexer", "sqs:SendMessage", "-data", "only a snapshot that is not committed when its message comes"),
    ("worker", "dynamodb:UpdateItem", "-api-keys", "a product that gives new tokens"),
    ("accounts", "s3:DeleteObject", "/keys/*", "in a bucket without versions"),
    ("accounts", "s3:GetObjectRetention", "", "in a bucket with object lock"),
    ("accounts", "dynamodb:Query", "-accounts/index/by-parent", "an account with accounts below it"),
    (
        "accounts",
        "dynamodb:Query",
        "-runs/index/by-id",
        "keys are destroyed in the moment in which an index lacks a run that began",
    ),
    ("accounts", "dynamodb:", "-runs", "destroying keys while runs are live"),
    ("auth", "dynamodb:BatchGetItem", "-users", "somebody proves an address that another person's row has"),
    ("billing", "dynamodb:Query", "-users-accounts", "usage within a minute after an invitation was taken back"),
    ("data", "dynamodb:GetItem", "-jobs", "two requests make the first job of a source at the same moment"),
    ("data", "dynamodb:GetItem", "-integrations", "a restore into a product of an account's own integration"),
    ("data", "s3:", "/verifications/*", "verification that goes on in a later request"),
    ("indexer", "sqs:ChangeMessageVisibility", "-data", "only when indexing takes long or fails"),
    ("integrations", "dynamodb:BatchGetItem", "-sources", "an integration is to be removed that some source names"),
    ("integrations", "s3:GetObject", "/integrations/*", "integrations of an account's own"),
    (
        "integrations",
        "s3:GetObject",
        "/keys/*",
        "sealed by a data key; this day's secrets are sealed by the master key",
    ),
    ("scheduler", "dynamodb:BatchGetItem", "-runs", "runs whose worker died"),
    ("scheduler", "dynamodb:GetItem", "-jobs", "somebody changes a job at the moment in which it fires"),
    ("sources", "dynamodb:GetItem", "-jobs", "two requests make the first job of a source at the same moment"),
];

/// Fails with everything that a role lacks, and all that it has and nobody asked for.
pub fn assert_exact(requests: &[Request], environment: &BTreeMap<String, String>) {
    let mut asked: BTreeMap<&str, BTreeSet<(String, String)>> = BTreeMap::new();
    for request in requests {
        let role = request.by.strip_prefix("role-").expect("roles only");
        asked.entry(role).or_default().extend(request.needs());
    }
    let (mut lacking, mut idle, mut used) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for role in Service::ALL.iter().map(|service| service.as_str()).chain(WORKING) {
        let asked = asked.remove(role).unwrap_or_default();
        let granted: Vec<_> =
            rights_of(role).into_iter().map(|(action, on)| (action, resolved(&on, environment))).collect();
        let allows =
            |(action, on): &(String, String), right: &(String, String)| *action == right.0 && matches(on, &right.1);
        for right in &asked {
            if !granted.iter().any(|grant| allows(grant, right)) {
                lacking.insert(format!("{role}: {} on {}", right.0, short(&right.1)));
            }
        }
        for grant in granted.iter().filter(|grant| !asked.iter().any(|right| allows(grant, right))) {
            let is_excepted = |(of, action, on, _): &&(&str, &str, &str, &str)| {
                [role, "*"].contains(of) && grant.0.starts_with(action) && grant.1.ends_with(on)
            };
            let excepted: Vec<_> = UNUSED.iter().filter(is_excepted).collect();
            used.extend(excepted.iter().map(|one| **one));
            if excepted.is_empty() {
                idle.insert(format!("{role}: {} on {}", grant.0, short(&grant.1)));
            }
        }
    }
    let lines = |set: &BTreeSet<String>| set.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n");
    let stale: Vec<_> = UNUSED.iter().filter(|one| !used.contains(*one)).collect();
    // Not a failure: what only a race asks for comes now and then.
    println!("exceptions that nothing needed this time: {stale:#?}");
    assert!(
        lacking.is_empty() && idle.is_empty(),
        "asked for and not allowed:\n{}\nallowed and never asked for:\n{}",
        lines(&lacking),
        lines(&idle)
    );
}

/// A resource of a template as it is in the account.
fn resolved(on: &str, environment: &BTreeMap<String, String>) -> String {
    if on.ends_with("-KeyArn") {
        return "KEY".to_owned();
    }
    [
        ("${AWS::Partition}", "aws"),
        ("${AWS::Region}", "us-east-1"),
        ("${AWS::AccountId}", "000000000000"),
        ("${Stage}", "test"),
        ("${Pool}", &*environment["LISTBACKUP_USER_POOL_ID"]),
    ]
    .iter()
    .fold(on.to_owned(), |on, (name, value)| on.replace(name, value))
}

/// As IAM does: `*` is any text.
fn matches(pattern: &str, on: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| on.strip_prefix(first)) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Without what all have in common, and the ids of accounts' objects.
fn short(on: &str) -> String {
    let on = on.replace("arn:aws:", "").replace(":us-east-1:000000000000", "").replace("listbackup-test-", "");
    on.split('/')
        .map(|part| if part.len() > 24 && !part.contains("000000000000") { "…" } else { part })
        .collect::<Vec<_>>()
        .join("/")
}
