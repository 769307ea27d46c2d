//! What runs and an idle fleet cost in requests.

use std::collections::{BTreeMap, BTreeSet};

use crate::{day::Marks, record::Request};

/// Requests of a backup that finds nothing changed, by all processes together, without what an idle fleet asks anyway.
const UNCHANGED_MAX: usize = 180;
/// The same of a backup that finds changes.
const CHANGED_MAX: usize = 200;
/// Requests a minute of an idle fleet: a worker, a scheduler, an indexer, and eight services that nobody calls.
const IDLE_MAX: usize = 350;

type Kind = (String, String);

/// Prints the tables of ARCHITECTURE.md and fails when they have grown.
pub fn assert_bounded(requests: &[Request], marks: &Marks) {
    let idle = &requests[marks.idle.clone()];
    let looks: BTreeSet<_> = idle.iter().map(|request| (request.by.clone(), request.needs())).collect();
    let idle_ms = idle.last().expect("polls").ended_ms - idle.first().expect("polls").ended_ms;
    let a_minute = |count: usize| (count as u64 * 60_000).div_ceil(idle_ms.max(1));
    println!("idle for {idle_ms} ms, requests a minute:");
    let by_look = counted(idle, |request| (request.by.clone(), format!("{:?}", request.needs())));
    for ((role, what), count) in &by_look {
        println!("  {role:<16} {:>5}  {what}", a_minute(*count));
    }
    let total = |range: &std::ops::Range<usize>, name: &str| {
        let is_work = |request: &&Request| !looks.contains(&(request.by.clone(), request.needs()));
        let work: Vec<_> = requests[range.clone()].iter().filter(is_work).cloned().collect();
        println!("{name}: {} requests", work.len());
        for ((role, what), count) in counted(&work, |request| (request.by.clone(), operation(request))) {
            println!("  {role:<16} {count:>5}  {what}");
        }
        work.len()
    };
    let (changed, unchanged) = (total(&marks.changed, "changed run"), total(&marks.unchanged, "unchanged run"));
    assert!(unchanged <= UNCHANGED_MAX, "an unchanged run costs {unchanged} requests");
    assert!(changed <= CHANGED_MAX, "a changed run costs {changed} requests");
    assert!(a_minute(idle.len()) <= IDLE_MAX as u64, "an idle fleet costs {} requests a minute", a_minute(idle.len()));
}

fn counted(requests: &[Request], kind: impl Fn(&Request) -> Kind) -> BTreeMap<Kind, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        *counts.entry(kind(request)).or_default() += 1;
    }
    counts
}

/// Such as `dynamodb Query` or `s3 GetObject`.
fn operation(request: &Request) -> String {
    if request.service == "s3" {
        request.needs()[0].0.replace(':', " ")
    } else {
        format!("{} {}", request.service, request.target)
    }
}
