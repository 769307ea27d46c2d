//! Every due time has exactly one outcome, and it is the one that the job's policies say: after downtimes, with several schedulers
//! at once, and wherever one of them dies.
//!
//! `LISTBACKUP_DUE_TIME_SEEDS` sets how many lives of a job there are, `LISTBACKUP_TEST_SEED` where their seeds begin.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};
use listbackup_engine::{
    model::{
        ActivityEvent, ActivityKind, Job, Run, RunStatus,
        job::{CatchUp, Overlap, Policies, Schedule},
        run::Trigger,
    },
    ports::Condition,
    run::{due, order, policies::LATE_AFTER, schedule::Calendar},
    store::{self, Store, key},
    tables::{ACTIVITY, RUNS},
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    crash_points::rows,
    meddled::Fate,
    mortal::{Life, Side},
    rules::product,
    simulation::number,
    world::World,
};

/// No limits.
pub static PLANS: std::sync::LazyLock<listbackup_engine::billing::Plans> = std::sync::LazyLock::new(Default::default);

const SEEDS: u64 = 40;

/// A world whose job has a schedule and policies from its creation on.
pub struct Scheduled {
    pub world: World,
}

impl Scheduled {
    pub async fn new(seed: u64, schedule: Schedule, policies: Policies) -> Self {
        let mut world = World::new(seed, product(5)).await;
        world.job = Job { schedule, policies, ..world.job };
        let created_at = world.job.created_at;
        due::reschedule(&mut world.job, created_at).expect("a schedule");
        let scheduled = Self { world };
        scheduled.store(&scheduled.world.job).await;
        scheduled
    }

    pub async fn store(&self, job: &Job) {
        let put = store::put(job, Condition::Any).expect("a row");
        self.tables().transact(&self.world.scope, vec![put]).await.expect("the job is written");
    }

    pub fn tables(&self) -> Store {
        Store::new(self.world.ports.tables.clone())
    }

    pub fn advance(&self, seconds: u64) {
        self.world.clock.advance(Duration::from_secs(seconds));
    }

    /// One look; how many runs it ordered.
    pub async fn look(&self) -> usize {
        due::fire_due(&self.world.ports, &self.world.system, &PLANS).await.expect("a look").runs
    }

    /// One look after so many seconds.
    pub async fn look_after(&self, seconds: u64) -> usize {
        self.advance(seconds);
        self.look().await
    }

    pub async fn job(&self) -> Job {
        let place = key(self.world.scope.account_id(), self.world.job.job_id);
        self.tables().get::<Job>(&self.world.scope, place).await.expect("the job").row
    }

    /// The runs that the schedule made, by due time, oldest first.
    pub async fn runs(&self) -> Vec<Run> {
        let all: Vec<Run> = rows(&self.world, &RUNS, None, self.world.job.job_id.to_string()).await;
        all.into_iter().filter(|run| matches!(run.trigger, Trigger::Schedule { .. })).collect()
    }

    pub async fn events(&self, kind: ActivityKind) -> Vec<ActivityEvent> {
        let account = self.world.scope.account_id().to_string();
        let all: Vec<ActivityEvent> = rows(&self.world, &ACTIVITY, Some("by-account"), account).await;
        all.into_iter().filter(|event| event.kind == kind).collect()
    }

    /// What a worker does, as far as a schedule sees it.
    pub async fn end(&self, run: &Run) {
        let place = key(run.job_id, run.run_id);
        let mut stored = self.tables().get::<Run>(&self.world.scope, place).await.expect("the run");
        order::end(&mut stored.row, RunStatus::Failed, None, self.world.ports.clock.now());
        let put = store::put(&stored.row, Condition::Version(stored.version)).expect("a row");
        self.tables().transact(&self.world.scope, vec![put]).await.expect("written");
    }

    pub async fn end_live(&self) {
        for run in self.runs().await.iter().filter(|run| !run.status.has_ended()) {
            self.end(run).await;
        }
    }

    /// Due times that start until then.
    fn times(&self, until: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let job = &self.world.job;
        let calendar = Calendar::of(job).expect("a schedule");
        let mut times = Vec::new();
        let mut last = job.created_at;
        while let Some(due) = calendar.next(last).expect("a time").filter(|due| due.starts_at <= until) {
            times.push((due.due_at, due.starts_at));
            last = due.due_at;
        }
        times
    }

    /// What differs from: one row for each due time that has come, as the policies say for the moment at which it was written.
    async fn violations(&self, looked_at: Timestamp) -> Vec<String> {
        let mut of_time: BTreeMap<Timestamp, Vec<Run>> = BTreeMap::new();
        for run in self.runs().await {
            if let Trigger::Schedule { due_at, .. } = run.trigger {
                of_time.entry(due_at).or_default().push(run);
            }
        }
        let times = self.times(looked_at);
        let mut found = Vec::new();
        for (i, (due_at, starts_at)) in times.iter().enumerate() {
            match of_time.remove(due_at).unwrap_or_default().as_slice() {
                [run] => {
                    let following = times.get(i + 1).map(|(_, starts_at)| *starts_at);
                    let is_newest = following.is_none_or(|following| following > run.created_at);
                    found.extend(wrong(run, self.world.job.policies, *starts_at, is_newest));
                }
                other => found.push(format!("{due_at} has {} rows", other.len())),
            }
        }
        found.extend(of_time.keys().map(|due_at| format!("a row of {due_at}, which has not come")));
        found.extend(self.wrongly_told().await);
        found
    }

    /// Every start and every overlap is told once, and missed times in sums.
    async fn wrongly_told(&self) -> Vec<String> {
        let (queued, skipped) =
            (self.events(ActivityKind::RunQueued).await, self.events(ActivityKind::RunSkipped).await);
        let of = |events: &[ActivityEvent], run: &Run| {
            events.iter().filter(|event| event.run_id == Some(run.run_id)).count()
        };
        let (mut found, mut missed) = (Vec::new(), 0);
        for run in self.runs().await {
            let expected = match outcome(&run).as_str() {
                "missed" => (0, 0),
                "overlap" => (0, 1),
                _ => (1, 0),
            };
            missed += u64::from(expected == (0, 0));
            let told = (of(&queued, &run), of(&skipped, &run));
            if told != expected {
                found.push(format!("told as queued and skipped {told:?} times: {run:?}"));
            }
        }
        let sums = self.events(ActivityKind::JobMissed).await;
        let told: u64 = sums.iter().filter_map(|event| event.details["missed"].as_u64()).sum();
        if told != missed {
            found.push(format!("{missed} times were missed, {told} are told"));
        }
        found
    }
}

/// The simple model: what a due time comes to depends on when it is looked at and whether a later one has come by then.
fn wrong(run: &Run, policies: Policies, starts_at: Timestamp, is_newest: bool) -> Option<String> {
    let lateness = run.created_at.duration_since(starts_at);
    let is_late = lateness > LATE_AFTER;
    let fires = match policies.catch_up {
        CatchUp::None => is_newest && !is_late,
        CatchUp::Latest => is_newest,
        CatchUp::All { window_seconds } => lateness.as_secs() <= i64::try_from(window_seconds).expect("days"),
    };
    let told = run.error.as_ref().map(|error| error.code.as_str()).filter(|_| run.status == RunStatus::Skipped);
    let may_overlap = !(matches!(policies.catch_up, CatchUp::All { .. }) && (is_late || !is_newest));
    let fits = match told {
        Some("missed") => !fires,
        Some("overlap") => fires && may_overlap,
        Some(_) => false,
        None => fires,
    };
    let wanted_seconds = if fires && is_late { lateness.as_secs() } else { 0 };
    let is_told =
        matches!(run.trigger, Trigger::Schedule { late_seconds, .. } if late_seconds == wanted_seconds.unsigned_abs());
    (!fits || !is_told || lateness < SignedDuration::ZERO)
        .then(|| format!("{lateness:?} late, newest: {is_newest}, {policies:?}: {run:?}"))
}

fn any_schedule(random: &mut StdRng) -> Schedule {
    let cron = |expression: &str, time_zone: &str| Schedule::Cron {
        expression: expression.to_owned(),
        time_zone: time_zone.to_owned(),
    };
    match random.random_range(0..5) {
        0 => Schedule::Interval { every_seconds: 60 },
        1 => Schedule::Interval { every_seconds: random.random_range(61..7200) },
        2 => cron("*/7 * * * *", "Asia/Kathmandu"),
        3 => cron("13 */2 * * *", "America/New_York"),
        _ => cron("30 2 * * *", "Europe/Berlin"),
    }
}

fn any_policies(random: &mut StdRng) -> Policies {
    let catch_ups = [CatchUp::None, CatchUp::Latest, CatchUp::All { window_seconds: random.random_range(60..20_000) }];
    Policies {
        overlap: [Overlap::Skip, Overlap::QueueOne, Overlap::CancelRunning][random.random_range(0..3)],
        catch_up: catch_ups[random.random_range(0..3)],
        jitter_seconds: [0, 0, 30, 3600][random.random_range(0..4)],
    }
}

/// Looks of several schedulers at once, one of which may die.
async fn looks(scheduled: &Scheduled, random: &mut StdRng) {
    let world = &scheduled.world;
    let life = Life::new(
        random
            .random_bool(0.5)
            .then(|| (random.random_range(1..7), if random.random_bool(0.5) { Side::Before } else { Side::After })),
    );
    let mortal = Fate::Mortal(life.clone()).ports(&world.ports);
    let dying = async {
        tokio::select! {
            _ = life.end() => {}
            look = due::fire_due(&mortal, &world.system, &PLANS) => { look.expect("a look"); }
        }
    };
    let others = (0..random.random_range(0..3)).map(|_| scheduled.look());
    tokio::join!(dying, futures::future::join_all(others));
}

async fn life_of_a_job(seed: u64, seen: &mut BTreeMap<String, usize>) -> Vec<String> {
    let mut random = StdRng::seed_from_u64(seed);
    let scheduled = Scheduled::new(seed, any_schedule(&mut random), any_policies(&mut random)).await;
    let job = &scheduled.world.job;
    let first = due_in(&scheduled, job.created_at);
    for _ in 0..10 {
        // Until the next time has come, more or less, or up to sixty times of the schedule.
        if random.random_bool(0.7) {
            let wait = time_to_start(&scheduled).await.saturating_add(random.random_range(0..50));
            scheduled.advance(wait.max(1));
        } else {
            let most = first * random.random_range(1..60);
            scheduled.advance(random.random_range(1..=most));
        }
        looks(&scheduled, &mut random).await;
        if random.random_bool(0.6) {
            scheduled.end_live().await;
        }
    }
    for _ in 0..1_000 {
        let now = scheduled.world.ports.clock.now();
        scheduled.look().await;
        scheduled.end_live().await;
        let job = scheduled.job().await;
        let next = job.pending().map(|pending| Calendar::of(&job).expect("a schedule").due(pending).expect("a time"));
        if next.is_none_or(|next| next.starts_at > now) {
            for run in scheduled.runs().await {
                *seen.entry(outcome(&run)).or_default() += 1;
            }
            return scheduled.violations(now).await;
        }
        scheduled.advance(10);
    }
    vec!["the job never comes to rest".to_owned()]
}

/// In a word, for the statistics.
fn outcome(run: &Run) -> String {
    let skipped = run.error.as_ref().filter(|_| run.status == RunStatus::Skipped).map(|error| error.code.clone());
    let is_late = matches!(run.trigger, Trigger::Schedule { late_seconds, .. } if late_seconds > 0);
    skipped.unwrap_or_else(|| if is_late { "late" } else { "in time" }.to_owned())
}

/// Seconds until the job's oldest due time without outcome starts.
async fn time_to_start(scheduled: &Scheduled) -> u64 {
    let job = scheduled.job().await;
    let Some(pending) = job.pending() else { return 0 };
    let starts_at = Calendar::of(&job).expect("a schedule").due(pending).expect("a time").starts_at;
    u64::try_from(starts_at.duration_since(scheduled.world.ports.clock.now()).as_secs()).unwrap_or(0)
}

fn due_in(scheduled: &Scheduled, after: Timestamp) -> u64 {
    let next = Calendar::of(&scheduled.world.job).expect("a schedule").next(after).expect("a time").expect("a time");
    next.due_at.duration_since(after).as_secs().unsigned_abs().max(60)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_downtimes_and_crashes_come_every_due_time_has_one_row_as_the_policies_say() {
    let (first, lives) =
        (number("LISTBACKUP_TEST_SEED").unwrap_or(1), number("LISTBACKUP_DUE_TIME_SEEDS").unwrap_or(SEEDS));
    let mut seen = BTreeMap::new();
    for seed in first..first + lives {
        let violations = life_of_a_job(seed, &mut seen).await;
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    }
    println!("{lives} lives from seed {first} (LISTBACKUP_TEST_SEED sets it): {seen:?}");
    let all = ["in time", "late", "missed", "overlap"];
    assert!(
        lives < SEEDS || all.iter().all(|outcome| seen.get(*outcome) > Some(&10)),
        "every outcome is met: {seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_a_scheduler_dies_the_next_one_leaves_each_time_with_one_row_and_the_run_with_a_message() {
    let mut points = 0;
    for side in [Side::Before, Side::After] {
        for number in 1.. {
            let scheduled =
                Scheduled::new(number, Schedule::Interval { every_seconds: 3600 }, Policies::default()).await;
            let world = &scheduled.world;
            scheduled.advance(3 * 3600 + 100);
            let life = Life::new(Some((number, side)));
            let mortal = Fate::Mortal(life.clone()).ports(&world.ports);
            let survived = tokio::select! {
                _ = life.end() => false,
                _ = due::fire_due(&mortal, &world.system, &PLANS) => true,
            };
            if survived {
                break;
            }
            points += 1;
            scheduled.look().await;
            assert_eq!(
                scheduled.violations(world.ports.clock.now()).await,
                Vec::<String>::new(),
                "{:?}",
                life.effects()
            );
            assert_eq!(scheduled.events(ActivityKind::JobMissed).await.len(), 1, "told once: {:?}", life.effects());
            assert_eq!(scheduled.events(ActivityKind::RunQueued).await.len(), 1, "told once: {:?}", life.effects());
            let later = world.ports.clock.now() + SignedDuration::from_hours(1);
            order::resend_lost(&world.ports, &world.system, later).await.expect("a sweep");
            assert!(!crate::rules::received(&*world.ports.queue).await.is_empty(), "{:?}", life.effects());
        }
    }
    println!("{points} crash points");
    assert!(points >= 4, "rows and sending, on both sides: {points}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_downtime_is_made_up_for_in_bounded_looks_while_other_jobs_have_their_turn() {
    let scheduled = Scheduled::new(3, Schedule::Interval { every_seconds: 60 }, Policies::default()).await;
    scheduled.advance(4_500 * 60);
    // Another job is due just now, and so behind all that in time.
    let mut other = Job {
        job_id: listbackup_engine::model::JobId::new(&*scheduled.world.ports.clock, &*scheduled.world.ports.random),
        schedule: Schedule::Interval { every_seconds: 3600 },
        ..scheduled.world.job.clone()
    };
    due::reschedule(&mut other, scheduled.world.ports.clock.now() - SignedDuration::from_hours(1)).expect("a schedule");
    scheduled.store(&other).await;
    scheduled.advance(5);
    let count = |job: &Job| {
        let partition = job.job_id.to_string();
        let scheduled = &scheduled;
        async move { counted(scheduled, partition).await }
    };
    scheduled.look().await;
    assert_eq!(count(&other).await, 1, "the other one did not wait");
    let first = count(&scheduled.world.job).await;
    assert!((1_500..=2_100).contains(&first), "one look writes a bounded number: {first}");
    assert_eq!(scheduled.events(ActivityKind::JobMissed).await.len(), 0, "told when it is over");
    scheduled.look().await;
    scheduled.look().await;
    assert_eq!(count(&scheduled.world.job).await, 4_500);
    let job = scheduled.job().await;
    assert_eq!((job.missed, job.next_due_ms), (None, Some(job.created_at.as_millisecond() + 4_501 * 60_000)));
    let told = scheduled.events(ActivityKind::JobMissed).await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].details["missed"], 4_499);
    let nth = |n: i64| (job.created_at + SignedDuration::from_secs(60 * n)).to_string();
    assert_eq!((&told[0].details["first"], &told[0].details["last"]), (&nth(1).into(), &nth(4_499).into()));
    assert_eq!(scheduled.events(ActivityKind::RunQueued).await.len(), 2, "the newest of each");
}

async fn counted(scheduled: &Scheduled, partition: String) -> usize {
    rows::<Run>(&scheduled.world, &RUNS, None, partition).await.len()
}
