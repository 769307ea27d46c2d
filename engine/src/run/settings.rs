//! How runs behave: every time limit and bound in one place.

use std::time::Duration;

use url::Url;

use super::oauth_apps::PlatformApps;
use crate::billing::Plans;

/// Limits of runs on one worker.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// How long a lease holds without a heartbeat.
    pub lease: Duration,
    /// How often a lease is renewed; well below `lease`.
    pub heartbeat: Duration,
    /// A stream's work is made durable at least this often.
    pub checkpoint_every: Duration,
    /// A stream's work is also made durable after this many records, but not before `checkpoint_gap` has passed.
    pub checkpoint_records: u64,
    /// The least time between two checkpoints of a stream: on a fast stream, more would cost more than they save.
    pub checkpoint_gap: Duration,
    /// How often progress is published and a cancel looked for.
    pub progress_every: Duration,
    /// Pages of one stream that may wait between connector and store.
    pub page_slots: usize,
    /// Streams of one run read at a time.
    pub streams_max: usize,
    /// Attachments of one run downloaded at a time.
    pub downloads_max: usize,
    /// Longest wait for one page; above what the client waits for one request (ten minutes).
    pub page_deadline: Duration,
    /// Longest time for one stream, from the beginning of its first attempt; then it has failed.
    pub stream_deadline: Duration,
    /// Longest time for a run, from its beginning; then what is not read has failed.
    pub run_deadline: Duration,
    /// An attempt in which nothing moves for so long is stuck and ends; above `page_deadline`.
    pub stuck_after: Duration,
    /// Tries of one stream before it has failed; rate-limited waits do not count.
    pub stream_attempts_max: u32,
    /// Wait before the second try; doubles with each further one.
    pub retry_base: Duration,
    /// Longest wait between tries.
    pub retry_cap: Duration,
    /// Longest time that pauses which the product asks for may take while nothing new comes; then a stream has failed.
    pub pauses_max: Duration,
    /// How often one worker tries a run before it has failed.
    pub run_attempts_max: u32,
    /// How often a run is begun without reaching a checkpoint before it has failed: high, since a process may be killed
    /// for reasons of its own.
    pub claims_max: u32,
    /// Runs of this worker at a time.
    pub slots: usize,
    /// Those of one account; none of its own when absent.
    pub slots_per_account: Option<usize>,
    /// Those of one integration; none of its own when absent.
    pub slots_per_integration: Option<usize>,
    /// How long a received message stays hidden; extended while its run lives.
    pub message_visibility: Duration,
    /// A message this old goes on as a fresh one: below what the queue allows (12 hours in SQS) by more than a page takes.
    pub message_life: Duration,
    /// How often the scheduler looks for due jobs and lost messages.
    pub tick: Duration,
    /// How often the snapshots of a source are looked after: retention rules, then collection.
    pub upkeep_every: Duration,
    /// Time between finding a segment that nothing refers to and deleting it; longer than any page of a run takes.
    pub collect_grace: Duration,
    /// Time from SIGTERM until the process ends, whatever is still open.
    pub drain_deadline: Duration,
    /// True when no other worker can be alive (this process holds the data directory's lock): leases of others are dead.
    pub is_sole_worker: bool,
    /// Where people reach the API, if it is known: what letters lead to.
    pub public_url: Option<Url>,
    /// What accounts may use.
    pub plans: Plans,
    /// OAuth apps for all accounts.
    pub oauth_apps: PlatformApps,
}

impl Default for RunSettings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            checkpoint_every: Duration::from_secs(5),
            checkpoint_records: 1_000,
            checkpoint_gap: Duration::from_secs(1),
            progress_every: Duration::from_secs(1),
            page_slots: 4,
            streams_max: 4,
            downloads_max: 4,
            page_deadline: Duration::from_secs(900),
            stream_deadline: Duration::from_secs(7 * 24 * 60 * 60),
            run_deadline: Duration::from_secs(14 * 24 * 60 * 60),
            stuck_after: Duration::from_secs(30 * 60),
            stream_attempts_max: 5,
            retry_base: Duration::from_secs(1),
            retry_cap: Duration::from_secs(60),
            pauses_max: Duration::from_secs(24 * 60 * 60),
            run_attempts_max: 3,
            claims_max: 25,
            slots: 4,
            slots_per_account: None,
            slots_per_integration: None,
            message_visibility: Duration::from_secs(60),
            message_life: Duration::from_secs(11 * 60 * 60),
            tick: Duration::from_secs(1),
            upkeep_every: Duration::from_secs(24 * 60 * 60),
            collect_grace: Duration::from_secs(24 * 60 * 60),
            drain_deadline: Duration::from_secs(25),
            is_sole_worker: false,
            public_url: None,
            plans: Plans::default(),
            oauth_apps: PlatformApps::default(),
        }
    }
}
