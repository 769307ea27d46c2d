//! What a job's policies promise: what becomes of a time that comes too early for the run before it, or too late for its own.

use jiff::SignedDuration;
use listbackup_engine::{
    billing::Plans,
    model::{
        ActivityKind, Job, Run, RunStatus,
        job::{CatchUp, Overlap, Policies, Schedule},
        run::Trigger,
    },
    ports::Condition,
    run::{due, order, schedule::Calendar},
    store::{self, key},
};
use serde_json::Value;

use crate::{
    due_times::Scheduled,
    rules::{claimed, received},
};

const HOUR: u64 = 3600;

async fn hourly(policies: Policies) -> Scheduled {
    Scheduled::new(7, Schedule::Interval { every_seconds: HOUR }, policies).await
}

fn overlapping(overlap: Overlap) -> Policies {
    Policies { overlap, ..Policies::default() }
}

fn codes(runs: &[Run]) -> Vec<(RunStatus, Option<&str>)> {
    runs.iter().map(|run| (run.status, run.error.as_ref().map(|error| error.code.as_str()))).collect()
}

const QUEUED: (RunStatus, Option<&str>) = (RunStatus::Queued, None);
const RUNNING: (RunStatus, Option<&str>) = (RunStatus::Running, None);
const OVERLAP: (RunStatus, Option<&str>) = (RunStatus::Skipped, Some("overlap"));
const MISSED: (RunStatus, Option<&str>) = (RunStatus::Skipped, Some("missed"));

#[tokio::test(flavor = "multi_thread")]
async fn skip_leaves_out_a_time_that_meets_an_earlier_run_and_says_which() {
    let scheduled = hourly(overlapping(Overlap::Skip)).await;
    assert_eq!(scheduled.look_after(HOUR).await, 1);
    let first = scheduled.runs().await.remove(0);
    assert_eq!(scheduled.look_after(HOUR).await, 0);
    claimed(&scheduled.world.worker(), &first).await;
    assert_eq!(scheduled.look_after(HOUR).await, 0);
    let runs = scheduled.runs().await;
    assert_eq!(codes(&runs), [RUNNING, OVERLAP, OVERLAP]);
    let why = &runs[2].error.as_ref().expect("a reason").message;
    assert!(why.contains(&first.run_id.to_string()) && why.contains("`skip`"), "{why}");
    let told = scheduled.events(ActivityKind::RunSkipped).await;
    assert_eq!(told.iter().map(|event| event.run_id).collect::<Vec<_>>(), [Some(runs[1].run_id), Some(runs[2].run_id)]);
    assert_eq!(told[0].details["error"]["code"], "overlap");
    scheduled.end(&first).await;
    assert_eq!(scheduled.look_after(HOUR).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_one_lets_one_run_wait_and_no_more() {
    let scheduled = hourly(Policies::default()).await;
    scheduled.look_after(HOUR).await;
    let first = scheduled.runs().await.remove(0);
    claimed(&scheduled.world.worker(), &first).await;
    assert_eq!(scheduled.look_after(HOUR).await, 1);
    assert_eq!(scheduled.look_after(HOUR).await, 0);
    assert_eq!(codes(&scheduled.runs().await), [RUNNING, QUEUED, OVERLAP]);
    scheduled.end(&first).await;
    assert_eq!(scheduled.look_after(HOUR).await, 0, "the one that waits has not begun");
    scheduled.end_live().await;
    assert_eq!(scheduled.look_after(HOUR).await, 1);
    assert_eq!(scheduled.job().await.open_runs.len(), 1, "what has ended is forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_running_stops_what_has_not_ended_and_starts() {
    let scheduled = hourly(overlapping(Overlap::CancelRunning)).await;
    scheduled.look_after(HOUR).await;
    let first = scheduled.runs().await.remove(0);
    claimed(&scheduled.world.worker(), &first).await;
    assert_eq!(scheduled.look_after(HOUR).await, 1);
    assert_eq!(scheduled.look_after(HOUR).await, 1);
    let runs = scheduled.runs().await;
    assert_eq!(codes(&runs), [RUNNING, (RunStatus::Cancelled, None), QUEUED]);
    assert!(runs[0].cancel_requested, "whoever executes it sees that within a page");
    let told = scheduled.events(ActivityKind::RunCancelled).await;
    assert_eq!((told.len(), told[0].run_id), (1, Some(runs[1].run_id)), "the end of the first is its worker's to tell");
    assert_eq!(told[0].details["replacedBy"], runs[2].run_id.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_person_started_counts_and_a_restore_does_not() {
    for (is_restore, expected) in [(false, vec![OVERLAP]), (true, vec![QUEUED])] {
        let scheduled = hourly(overlapping(Overlap::Skip)).await;
        let manual = scheduled.world.order().await;
        if is_restore {
            let place = key(manual.job_id, manual.run_id);
            let mut stored = scheduled.tables().get::<Run>(&scheduled.world.scope, place).await.expect("the run");
            let restore_id = "rst_01k9zt4m8x7q3v5n2r6w0y1abc".parse().expect("an id");
            stored.row.restore = Some(listbackup_engine::model::RunRestore { restore_id, dry_run: true });
            let put = store::put(&stored.row, Condition::Any).expect("a row");
            scheduled.tables().transact(&scheduled.world.scope, vec![put]).await.expect("written");
        }
        claimed(&scheduled.world.worker(), &manual).await;
        scheduled.look_after(HOUR).await;
        assert_eq!(codes(&scheduled.runs().await), expected, "restore: {is_restore}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_a_person_ordered_and_nobody_has_begun_counts_as_one_that_waits() {
    for (overlap, expected) in
        [(Overlap::Skip, OVERLAP), (Overlap::QueueOne, OVERLAP), (Overlap::CancelRunning, QUEUED)]
    {
        let scheduled = hourly(overlapping(overlap)).await;
        let manual = scheduled.world.order().await;
        scheduled.look_after(HOUR).await;
        let runs = scheduled.runs().await;
        assert_eq!(codes(&runs), [expected], "{overlap:?}");
        let manual = scheduled.world.run(&manual).await;
        if overlap == Overlap::CancelRunning {
            let told = scheduled.events(ActivityKind::RunCancelled).await;
            assert_eq!((manual.status, told[0].run_id), (RunStatus::Cancelled, Some(manual.run_id)));
            assert_eq!(told[0].details["replacedBy"], runs[0].run_id.to_string());
        } else {
            assert_eq!(manual.status, RunStatus::Queued);
            let why = &runs[0].error.as_ref().expect("a reason").message;
            assert!(why.contains(&manual.run_id.to_string()), "{why}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_run_counts_until_it_has_ended_and_one_of_another_job_does_not() {
    let scheduled = hourly(overlapping(Overlap::Skip)).await;
    let other = scheduled.world.another_job().await;
    scheduled.world.order_of(&other).await;
    let manual = scheduled.world.order().await;
    assert_eq!(scheduled.look_after(HOUR).await, 0, "it waits");
    claimed(&scheduled.world.worker(), &manual).await;
    assert_eq!(scheduled.look_after(HOUR).await, 0, "it runs");
    scheduled.end(&manual).await;
    assert_eq!(scheduled.look_after(HOUR).await, 1, "it has ended, and the other job's is not in the way");
    assert_eq!(codes(&scheduled.runs().await), [OVERLAP, OVERLAP, QUEUED]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_running_cancels_more_ordered_runs_than_one_transaction_holds() {
    let scheduled = hourly(overlapping(Overlap::CancelRunning)).await;
    for _ in 0..130 {
        scheduled.world.order().await;
    }
    assert_eq!(scheduled.look_after(HOUR).await, 1);
    let due = scheduled.runs().await.remove(0);
    assert_eq!((due.status, scheduled.job().await.open_runs), (RunStatus::Queued, vec![due.run_id]));
    let told = scheduled.events(ActivityKind::RunCancelled).await;
    assert_eq!(told.len(), 130);
    assert!(told.iter().all(|event| event.details["replacedBy"] == due.run_id.to_string()));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_downtime_the_job_catches_up_as_its_policy_says() {
    let cases = [
        (CatchUp::None, vec![MISSED, MISSED, MISSED]),
        (CatchUp::Latest, vec![MISSED, MISSED, QUEUED]),
        (CatchUp::All { window_seconds: 2 * HOUR }, vec![MISSED, QUEUED]),
    ];
    for (catch_up, expected) in cases {
        let scheduled = hourly(Policies { catch_up, ..Policies::default() }).await;
        scheduled.look_after(3 * HOUR + 600).await;
        assert_eq!(codes(&scheduled.runs().await), expected, "{catch_up:?}");
        let told = scheduled.events(ActivityKind::JobMissed).await;
        let missed = expected.iter().filter(|outcome| **outcome == MISSED).count();
        assert_eq!((told.len(), &told[0].details["missed"]), (1, &missed.into()), "{catch_up:?}");
        assert_eq!(told[0].job_id, Some(scheduled.world.job.job_id));
        assert_eq!(scheduled.events(ActivityKind::RunSkipped).await.len(), 0, "one event tells of them all");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_are_all_caught_up_run_one_after_the_other_and_none_overlaps() {
    for overlap in [Overlap::Skip, Overlap::QueueOne, Overlap::CancelRunning] {
        let catch_up = CatchUp::All { window_seconds: 12 * HOUR };
        let scheduled = hourly(Policies { overlap, catch_up, jitter_seconds: 0 }).await;
        scheduled.look_after(3 * HOUR + 600).await;
        assert_eq!(scheduled.look_after(30).await, 0, "the next waits");
        for before in 1..3 {
            assert_eq!(
                codes(&scheduled.runs().await),
                vec![(RunStatus::Failed, None); before - 1].into_iter().chain([QUEUED]).collect::<Vec<_>>()
            );
            scheduled.end_live().await;
            assert_eq!(scheduled.look_after(30).await, 1, "{overlap:?}");
        }
        assert_eq!(scheduled.runs().await.len(), 3);
        assert!(!due::is_overdue(&scheduled.job().await, scheduled.world.ports.clock.now()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_late_from_the_threshold_on_and_says_how_much() {
    for (after, expected) in [(0, 0), (45, 0), (46, 46), (1800, 1800)] {
        let scheduled = hourly(Policies::default()).await;
        scheduled.look_after(HOUR + after).await;
        let run = scheduled.runs().await.remove(0);
        let Trigger::Schedule { due_at, late_seconds } = run.trigger else { panic!("{:?}", run.trigger) };
        assert_eq!((due_at, late_seconds), (scheduled.world.job.created_at + SignedDuration::from_hours(1), expected));
        let told = scheduled.events(ActivityKind::RunQueued).await.remove(0);
        assert_eq!(told.details.get("lateSeconds"), (expected > 0).then(|| Value::from(expected)).as_ref(), "{after}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_start_is_not_late_and_the_run_is_named_by_its_due_time() {
    let scheduled = hourly(Policies { jitter_seconds: 1500, ..Policies::default() }).await;
    let due = Calendar::of(&scheduled.world.job).expect("a schedule").next(scheduled.world.job.created_at);
    let due = due.expect("a time").expect("a time");
    let delay = due.starts_at.duration_since(due.due_at).as_secs().unsigned_abs();
    assert!((60..1500).contains(&delay), "this job's part of the jitter: {delay}");
    assert_eq!(scheduled.look_after(HOUR + delay - 1).await, 0);
    assert_eq!(scheduled.look_after(2).await, 1);
    let run = scheduled.runs().await.remove(0);
    assert_eq!(run.trigger, Trigger::Schedule { due_at: due.due_at, late_seconds: 0 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_has_come_is_not_lost_when_somebody_changes_the_schedule() {
    let scheduled = hourly(Policies { jitter_seconds: 1500, ..Policies::default() }).await;
    let (world, job_id) = (&scheduled.world, scheduled.world.job.job_id);
    due::settle(&world.ports, &world.system, &world.scope, job_id, &Plans::default()).await.expect("nothing has come");
    assert_eq!(scheduled.runs().await.len(), 0);
    // Its time has come, its delay is not over.
    scheduled.advance(HOUR + 10);
    assert_eq!(scheduled.look().await, 0);
    due::settle(&world.ports, &world.system, &world.scope, job_id, &Plans::default()).await.expect("settled");
    assert_eq!(codes(&scheduled.runs().await), [QUEUED]);
    let next =
        Calendar::of(&world.job).expect("a schedule").next(world.ports.clock.now()).expect("a time").expect("a time");
    let job = scheduled.job().await;
    assert_eq!(job.next_due_ms, Some(next.starts_at.as_millisecond()));
    assert_eq!(scheduled.look().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_due_time_that_has_its_row_keeps_it() {
    let scheduled = hourly(Policies::default()).await;
    let world = &scheduled.world;
    // As a scheduler of before left it, which wrote the row first and died.
    let trigger = Trigger::Schedule { due_at: world.job.pending().expect("a time"), late_seconds: 0 };
    let run = order::order_run(&world.ports, &world.scope, &world.job, trigger, None).await.expect("an order");
    assert_eq!(scheduled.look_after(2 * HOUR).await, 1);
    assert_eq!(codes(&scheduled.runs().await), [QUEUED, QUEUED]);
    assert_eq!(scheduled.runs().await[0], run);
    assert_eq!(received(&*world.ports.queue).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_schedule_cannot_be_read_holds_nobody_up() {
    let scheduled = hourly(Policies::default()).await;
    let nowhere = Schedule::Cron { expression: "0 0 * * *".to_owned(), time_zone: "Mars/Olympus".to_owned() };
    let job_id = listbackup_engine::model::JobId::new(&*scheduled.world.ports.clock, &*scheduled.world.ports.random);
    scheduled.store(&Job { job_id, schedule: nowhere, ..scheduled.world.job.clone() }).await;
    assert_eq!(scheduled.look_after(HOUR + 1).await, 1);
    due::settle(&scheduled.world.ports, &scheduled.world.system, &scheduled.world.scope, job_id, &Plans::default())
        .await
        .expect("it can be given another one");
}

#[test]
fn rows_from_before_there_were_policies_are_read() {
    let job = r#"{"accountId":"acc_01k9zt4m8x7q3v5n2r6w0y1abc","jobId":"job_01k9zt4m8x7q3v5n2r6w0y1abc",
        "sourceId":"src_01k9zt4m8x7q3v5n2r6w0y1abc","name":"Nightly","schedule":{"kind":"interval","every_seconds":60},
        "state":"active","dueShard":"due","nextDueMs":1790000060000,"createdAt":"2026-09-21T13:46:40Z",
        "updatedAt":"2026-09-21T13:46:40Z"}"#;
    let job: Job = serde_json::from_str(job).expect("a job");
    assert_eq!(job.policies, Policies { overlap: Overlap::QueueOne, catch_up: CatchUp::Latest, jitter_seconds: 0 });
    assert_eq!(job.pending().map(|due| due.as_millisecond()), Some(1_790_000_060_000));
    let trigger = r#"{"kind":"schedule","dueAt":"2026-09-21T13:46:40Z"}"#;
    let trigger: Trigger = serde_json::from_str(trigger).expect("a trigger");
    assert!(matches!(trigger, Trigger::Schedule { late_seconds: 0, .. }));
}
