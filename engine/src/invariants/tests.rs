//! Each invariant can be broken.

use super::*;
use crate::model::id::{Id, IdKind};

fn id<K: IdKind>(number: u8) -> Id<K> {
    Id::derived(1, [number; 10])
}

fn lease(epoch: u64, owner: Option<u8>) -> Lease {
    Lease { epoch, owner: owner.map(id), run_id: None, expires_at: None }
}

fn seconds(all: &[u64]) -> Vec<Duration> {
    all.iter().map(|at| Duration::from_secs(*at)).collect()
}

#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "each call makes both in its place")]
fn only(invariant: Invariant, holds: Held, broken: Held) {
    assert_eq!(holds, Ok(()));
    let broken = broken.expect_err("this is a violation");
    assert_eq!(broken.invariant, invariant);
    assert!(broken.to_string().starts_with(&format!("{invariant:?} is violated: ")), "{broken}");
}

#[test]
fn a_violation_of_what_is_stored_is_told_by_its_number() {
    only(Invariant::I1, whole("s", [] as [&str; 0]), whole("s", ["a block is damaged"]));
    let (some, all) = (BTreeSet::from([1]), BTreeSet::from([1, 2]));
    only(Invariant::I2, covered("c", &all, &some, &BTreeSet::from([2])), covered("c", &all, &some, &some));
    only(Invariant::I4, removable("a/b.seg", false), removable("a/b.seg", true));
    only(Invariant::I4, removable("a/b.checkpoint", false), removable("a/b.snap", false));
    only(Invariant::I9, collectable("x", false, false), collectable("x", false, true));
    only(Invariant::I9, collectable("x", false, false), collectable("x", true, false));
    let records = BTreeMap::from([(1, "a"), (2, "b")]);
    only(Invariant::I10, equal("c", &records, &records.clone()), equal("c", &records, &BTreeMap::from([(1, "a")])));
}

#[test]
fn a_violation_of_the_fence_is_told_by_its_number() {
    only(Invariant::I3, owns(&lease(3, Some(1)), 3), owns(&lease(4, Some(1)), 3));
    only(Invariant::I3, owns(&lease(3, Some(1)), 3), owns(&lease(3, None), 3));
    only(
        Invariant::I3,
        lease_follows(&lease(3, None), &lease(4, Some(1))),
        lease_follows(&lease(3, Some(1)), &lease(3, Some(2))),
    );
    only(
        Invariant::I3,
        lease_follows(&lease(3, Some(1)), &lease(3, None)),
        lease_follows(&lease(3, Some(1)), &lease(2, None)),
    );
    only(Invariant::I3, head_moved_by(&lease(3, Some(1)), Some(id(1))), head_moved_by(&lease(3, None), None));
    only(Invariant::I3, epochs_grow(1, 2), epochs_grow(2, 2));
    only(Invariant::I3, tokens_follow(1, 2), tokens_follow(2, 2));
}

#[test]
fn a_violation_of_budget_and_outcome_is_told_by_its_number() {
    let window = Duration::from_secs(10);
    only(
        Invariant::I5,
        within_budget(&seconds(&[0, 1, 10, 11]), window, 2),
        within_budget(&seconds(&[0, 1, 9]), window, 2),
    );
    only(Invariant::I5, pause_kept(window, window), pause_kept(Duration::ZERO, window));
    let (done, live) = (RunStatus::Succeeded, RunStatus::Running);
    only(Invariant::I6, one_outcome("t", &[done]), one_outcome("t", &[done, done]));
    only(Invariant::I6, one_outcome("t", &[done]), one_outcome("t", &[live]));
    only(Invariant::I6, one_end("r", done, &[done]), one_end("r", done, &[]));
    only(Invariant::I6, may_become("r", live, done), may_become("r", done, live));
}

#[test]
fn a_violation_between_accounts_or_of_a_secret_is_told_by_its_number() {
    let scope = crate::model::scope::SystemScope::of_this_process().account(id(1));
    let row = |account: u8| {
        Map::from_iter([(
            "accountId".to_owned(),
            Value::from(id::<crate::model::id::kind::Account>(account).to_string()),
        )])
    };
    let table = &crate::tables::RUNS;
    only(Invariant::I7, own_row((&scope).into(), table, &row(1)), own_row((&scope).into(), table, &row(2)));
    let path = format!("accounts/{}/x", scope.account_id());
    only(Invariant::I7, own_path(scope.account_id(), &path), own_path(scope.account_id(), "accounts/x/y"));
    only(Invariant::I8, silent("a log", "nothing", ["hush"]), silent("a log", "it is hush-hush", ["hush"]));
}

#[test]
#[should_panic(expected = "I3 is violated")]
fn a_debug_build_ends_what_breaks_an_invariant() {
    held(|| epochs_grow(2, 1));
}

#[test]
fn a_snapshot_that_was_read_while_the_product_changed_holds_nothing_but_what_was_there_then() {
    let (before, after) =
        (BTreeMap::from([(1, "a"), (2, "b"), (3, "c")]), BTreeMap::from([(1, "a"), (2, "B"), (4, "d")]));
    let held = |records: &[(i32, &'static str)]| {
        as_read("c", &[before.clone(), after.clone()], &records.iter().copied().collect())
    };
    for seen in [
        &[(1, "a"), (2, "b"), (3, "c")][..],
        &[(1, "a"), (2, "B"), (4, "d")],
        &[(1, "a"), (2, "b"), (4, "d")],
        &[(1, "a"), (2, "B")],
    ] {
        only(Invariant::I2, held(seen), held(&seen[1..]));
    }
    let seen = &[(1, "a"), (2, "b"), (3, "c")];
    only(Invariant::I2, held(seen), held(&[(1, "a"), (2, "c"), (3, "c")]));
    only(Invariant::I2, held(seen), held(&[(1, "a"), (2, "b"), (5, "e")]));
    only(
        Invariant::I2,
        as_read("c", std::slice::from_ref(&before), &before),
        as_read("c", std::slice::from_ref(&before), &after),
    );
}
