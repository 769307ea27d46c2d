//! What was asked for against what roles allow.

use std::collections::{BTreeMap, BTreeSet};

use listbackup::state::Service;

use crate::{WORKING, record::Request, template::rights_of};

/// Rights that this day does not use: role (`*` for all), start of the action, end of the resource, and why the right is needed.
const UNUSED: &[(&str, &str, &str, &str)] = &[
    ("*", "logs:", "", "the metrics agent beside the program asks for these"),
    ("worker", "ecs:UpdateTaskProtection", "", "asked for through the agent of ECS, which is not here"),
    ("worker", "s3:AbortMultipartUpload", "", "only when an upload breaks off"),
    ("worker", "s3:GetObjectRetention", "", "only with `lock_days`, in a bucket with object lock"),
    ("worker", "s3:PutObjectRetention", "", "only with `lock_days`, in a bucket with object lock"),
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
    assert!(
        lacking.is_empty() && idle.is_empty() && stale.is_empty(),
        "asked for and not allowed:\n{}\nallowed and never asked for:\n{}\nexceptions of nothing: {stale:?}",
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
