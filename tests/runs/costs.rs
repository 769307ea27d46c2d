//! What a run asks of AWS is bounded, however many workers there are. The bounds stand in ARCHITECTURE.md, by service.

use std::time::Duration;

use tokio::time::sleep;

use crate::requests::{Counts, Fleet, Product, Service, Sources, simulate};

const PERIOD: Duration = Duration::from_secs(1800);
const SOURCES: Sources = Sources { accounts: 4, each: 5, period: PERIOD, within: Duration::from_secs(1500) };
/// What the row with the bounds begins with.
const BOUNDS: &str = "| a run, at most |";

/// Requests while the sources have their second runs, and of a fleet that has nothing to do for as long; and how many runs these are. The
/// first upkeep of a source comes an hour after its first snapshot, so it is not in them.
fn second_runs(workers: usize) -> (Counts, Counts, usize) {
    let idle = simulate(async {
        let mut fleet = Fleet::new(product());
        fleet.start(workers).await;
        sleep(PERIOD).await;
        fleet.meter.take()
    });
    let (busy, runs) = simulate(async {
        let mut fleet = Fleet::new(product());
        fleet.start(workers).await;
        fleet.connect(SOURCES).await;
        sleep(PERIOD).await;
        let before = fleet.done().await;
        fleet.meter.take();
        sleep(PERIOD).await;
        (fleet.meter.take(), fleet.done().await - before)
    });
    (busy, idle, runs)
}

fn product() -> Product {
    Product::small(4, 15, Duration::from_millis(200))
}

/// By service, in the order of [`Service::ALL`].
fn bounds() -> Vec<f64> {
    let text = std::fs::read_to_string("ARCHITECTURE.md").expect("tests run in the root of the checkout");
    let row = text.lines().find_map(|line| line.strip_prefix(BOUNDS)).expect("ARCHITECTURE.md lists bounds");
    row.split('|').filter_map(|cell| cell.trim().parse().ok()).collect()
}

#[test]
fn a_run_asks_for_no_more_requests_than_architecture_lists_whatever_the_number_of_workers() {
    let bounds = bounds();
    assert_eq!(bounds.len(), Service::ALL.len(), "a bound for each service");
    for workers in [1, 10, 100] {
        let (busy, idle, runs) = second_runs(workers);
        assert_eq!(runs, SOURCES.accounts * SOURCES.each, "{workers} workers: each source has its run");
        for (service, most) in Service::ALL.into_iter().zip(&bounds) {
            let each = (busy.of(service) as f64 - idle.of(service) as f64) / runs as f64;
            println!("{workers} workers: {each:.1} requests of {service:?} a run");
            assert!(each <= *most, "{workers} workers: {each} requests of {service:?} a run: {:#?}", busy.lines());
        }
    }
}

#[test]
fn a_worker_with_nothing_to_do_asks_twice_a_minute_what_is_to_be_sent() {
    let (minutes, workers) = (PERIOD.as_secs() / 60, 10);
    let idle = simulate(async {
        let mut fleet = Fleet::new(product());
        fleet.start(workers).await;
        sleep(PERIOD).await;
        fleet.meter.take()
    });
    let lines = idle.lines();
    let of_webhooks: Vec<_> = lines.iter().filter(|line| line.contains(" webhooks")).collect();
    let asked: usize =
        of_webhooks.iter().filter_map(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok()).sum();
    let most = 2 * usize::try_from(minutes).expect("few") * workers;
    assert!(asked > most / 2 && asked <= most, "{asked} of {most}: {of_webhooks:#?}");
}
