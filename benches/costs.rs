//! What a fleet of 1, 10 and 100 workers asks of AWS, and what that costs: simulated, on tokio's paused clock and over stores in memory,
//! with counters at the ports that know what the adapters for AWS send.
//!
//! `cargo bench --package listbackup-house --bench costs`, with `-- details` for each kind of request.

#[allow(dead_code, reason = "this bench makes contacts only")]
#[path = "support/contacts.rs"]
mod contacts;
#[path = "../tests/support/memory/mod.rs"]
mod memory;
#[path = "support/prices.rs"]
mod prices;
#[path = "../tests/support/requests/mod.rs"]
mod requests;

use std::time::Duration;

use requests::{Counts, Fleet, Product, Service, Sources, simulate};
use tokio::time::sleep;

const WORKERS: [usize; 3] = [1, 10, 100];
const HOUR: Duration = Duration::from_secs(3600);
/// A thousand sources of a hundred accounts, as small as that of `tests/permissions.rs`: four streams of 15 records.
const MANY: Sources = Sources { accounts: 100, each: 10, period: HOUR, within: Duration::from_secs(3500) };
const PAGE_TAKES: Duration = Duration::from_millis(200);
/// Of the sources whose runs take long.
const SLOW_PAGE_TAKES: Duration = Duration::from_secs(20);
/// A million records: a hundred sources of one stream of a hundred pages of a hundred.
const LARGE: Sources = Sources { accounts: 10, each: 10, period: Duration::from_secs(24 * 3600), within: HOUR };
/// Of the sources of [`MANY`]; in the second one all of them are looked after, which is done once a day.
const HOURS: [&str; 5] =
    ["first backups", "unchanged, with upkeep", "unchanged", "a tenth changed", "unchanged after that"];
/// Requests by service, and the first of the units that are billed.
const HEADING: &str = "| | runs | minutes | DynamoDB | S3 | SQS | KMS | EventBridge | together | each run, without idling \
    | writes of 1 KB | reads of 4 KB | puts | gets | $ |";
const IDLE_MINUTES: u32 = 10;

/// What was asked in one hour, or another time.
struct Asked {
    what: &'static str,
    counts: Counts,
    runs: usize,
    minutes: u32,
}

fn main() {
    let has_details = std::env::args().any(|arg| arg == "details");
    for workers in WORKERS {
        let idle = idle(workers);
        let mut all = vec![idle];
        all.extend(hours(workers));
        all.push(slow(workers));
        all.push(million(workers));
        println!("\n{workers} workers");
        println!("{HEADING}\n|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
        let idle_minute = all[0].counts.all() as f64 / f64::from(all[0].minutes);
        all.iter().for_each(|asked| asked.print(idle_minute));
        for asked in all.iter().filter(|_| has_details) {
            println!("\n{workers} workers, {}:", asked.what);
            asked.counts.lines().iter().for_each(|line| println!("  {line}"));
        }
    }
}

impl Asked {
    fn print(&self, idle_minute: f64) {
        let services = Service::ALL.map(|service| self.counts.of(service).to_string()).join(" | ");
        let work = self.counts.all() as f64 - idle_minute * f64::from(self.minutes);
        let each = if self.runs == 0 { String::new() } else { format!("{:.1}", work / self.runs as f64) };
        let dollars = prices::dollars(&self.counts);
        let (what, runs, minutes, all) = (self.what, self.runs, self.minutes, self.counts.all());
        let units = prices::UNITS.map(|(service, billed, _)| format!("{:.0}", self.counts.units(service, billed)));
        let units = units[..4].join(" | ");
        println!("| {what} | {runs} | {minutes} | {services} | {all} | {each} | {units} | {dollars:.4} |");
    }
}

/// Nothing to do, and nothing stored.
fn idle(workers: usize) -> Asked {
    simulate(async {
        let mut fleet = Fleet::new(Product::small(4, 15, PAGE_TAKES));
        fleet.start(workers).await;
        sleep(Duration::from_secs(60) * IDLE_MINUTES).await;
        Asked { what: "idle", counts: fleet.meter.take(), runs: 0, minutes: IDLE_MINUTES }
    })
}

/// All of [`HOURS`].
fn hours(workers: usize) -> Vec<Asked> {
    simulate(async {
        let product = Product::small(4, 15, PAGE_TAKES);
        let mut fleet = Fleet::new(product.clone());
        fleet.start(workers).await;
        fleet.connect(MANY).await;
        let mut all = Vec::new();
        for what in HOURS {
            if what == "a tenth changed" {
                product.change();
            }
            all.push(hour(&fleet, what).await);
        }
        all
    })
}

async fn hour(fleet: &Fleet, what: &'static str) -> Asked {
    let before = fleet.done().await;
    sleep(HOUR).await;
    let runs = fleet.done().await - before;
    assert_eq!(runs, MANY.accounts * MANY.each, "{what}: each source has one run in an hour");
    Asked { what, counts: fleet.meter.take(), runs, minutes: 60 }
}

/// An hour of unchanged runs that take twenty seconds, of a fleet that can do as many.
fn slow(workers: usize) -> Asked {
    let each = if workers == 1 { 1 } else { MANY.each };
    simulate(async {
        let mut fleet = Fleet::new(Product::small(4, 15, SLOW_PAGE_TAKES));
        fleet.start(workers).await;
        fleet.connect(Sources { each, ..MANY }).await;
        sleep(HOUR * 2).await;
        let before = fleet.done().await;
        fleet.meter.take();
        sleep(HOUR).await;
        let runs = fleet.done().await - before;
        Asked { what: "unchanged, in 20 s", counts: fleet.meter.take(), runs, minutes: 60 }
    })
}

/// First backups of a million records.
fn million(workers: usize) -> Asked {
    simulate(async {
        let mut fleet = Fleet::new(Product::new(1, 100, 100, PAGE_TAKES, contacts::contact));
        fleet.start(workers).await;
        fleet.connect(LARGE).await;
        let minutes = 65;
        sleep(Duration::from_secs(60) * minutes).await;
        let runs = fleet.done().await;
        assert_eq!(runs, LARGE.accounts * LARGE.each, "each source has its backup");
        Asked { what: "a million records", counts: fleet.meter.take(), runs, minutes }
    })
}
