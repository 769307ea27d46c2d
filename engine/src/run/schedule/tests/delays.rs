//! Jitter: within its bound, always the same, never past the next time, and spread over jobs.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::model::{
    Job,
    job::{Policies, Schedule},
};

fn job(number: u128, schedule: Schedule, jitter_seconds: u32) -> Job {
    let id = |number: u128| format!("{:026}", number % 7_000_000_000_000_000_000);
    let [account_id, source_id] = [id(1), id(2)];
    Job {
        schedule,
        policies: Policies { jitter_seconds, ..Policies::default() },
        ..Job::new(
            format!("acc_{account_id}").parse().unwrap(),
            format!("src_{source_id}").parse().unwrap(),
            format!("job_{}", id(number)).parse().unwrap(),
            "Nightly",
            at("2026-11-22T12:34:56.789Z"),
        )
    }
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    prop_oneof![
        (60u64..400_000).prop_map(|every_seconds| Schedule::Interval { every_seconds }),
        (0u8..60, 0u8..24).prop_map(|(minute, hour)| cron(&format!("{minute} {hour} * * *"), "Europe/Berlin")),
        (1u8..60).prop_map(|step| cron(&format!("*/{step} * * * *"), "America/New_York")),
        Just(cron("* * * * * *", "UTC")),
        Just(cron("0 3 29 2 *", "Australia/Lord_Howe")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn a_delay_is_within_its_bound_and_before_the_next_time_and_the_same_for_every_reader(
        schedule in any_schedule(), number in any::<u64>(), jitter_seconds in 0u32..=21_600, from_s in 1_700_000_000i64..2_000_000_000,
    ) {
        let job = job(u128::from(number), schedule, jitter_seconds);
        let from = Timestamp::from_second(from_s).unwrap();
        let times = Calendar::of(&job).unwrap().preview(from, 20).unwrap();
        for pair in times.windows(2) {
            prop_assert!(pair[0].starts_at < pair[1].due_at, "{pair:?}");
        }
        for due in &times {
            prop_assert!(due.starts_at >= due.due_at);
            prop_assert!(due.starts_at.duration_since(due.due_at) <= SignedDuration::from_secs(i64::from(jitter_seconds)));
            let calendar = Calendar::of(&job.clone()).unwrap();
            prop_assert_eq!(calendar.due(due.due_at).unwrap(), *due);
            let latest = Calendar::latest(&job.schedule, job.created_at, jitter_seconds).unwrap().due(due.due_at).unwrap();
            prop_assert!(due.starts_at <= latest.starts_at);
        }
        let plain: Vec<_> = times.iter().map(|due| due.due_at).collect();
        prop_assert_eq!(plain, preview(&job.schedule, job.created_at, from, 20).unwrap(), "what is due does not move");
    }
}

#[test]
fn the_jobs_of_a_midnight_are_spread_over_their_jitter() {
    let mut starts_in = [0; 10];
    for number in 0..1_000 {
        let job = job(number * 7919, cron("0 0 * * *", "UTC"), 300);
        let due = Calendar::of(&job).unwrap().next(at("2026-11-22T12:00:00Z")).unwrap().unwrap();
        let delay_ms = due.starts_at.duration_since(due.due_at).as_millis();
        starts_in[usize::try_from(delay_ms / 30_000).unwrap()] += 1;
    }
    assert!(starts_in.iter().all(|jobs| (60..=140).contains(jobs)), "a hundred each, more or less: {starts_in:?}");
}

#[test]
fn without_jitter_what_is_due_starts() {
    let job = job(1, cron("0 0 * * *", "UTC"), 0);
    let times = Calendar::of(&job).unwrap().preview(at("2026-11-22T12:00:00Z"), 5).unwrap();
    assert!(times.iter().all(|due| due.starts_at == due.due_at), "{times:?}");
}
