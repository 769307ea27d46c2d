//! The figures of a live run: streams change them while reports look.

#[path = "../../engine/src/run/live_progress.rs"]
mod live_progress;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use listbackup_engine::{
    model::{RestoreFigures, run::Progress},
    run::{estimate, pulse},
};
use live_progress::LiveProgress;
use loom::thread;

fn fresh() -> Arc<LiveProgress> {
    Arc::new(LiveProgress::starting_from(Progress::default(), pulse::Pulse::new()))
}

/// A page comes: ten bytes and a record each, of which the stream holds `stored` bytes by now.
fn page(progress: &LiveProgress, stream: &str, stored: u64) {
    progress.add(10, 1, 0);
    progress.stored(stream, stored);
    progress.stream(stream, |stream| {
        stream.records += 1;
        stream.added += 1;
    });
}

/// What changes at once is there at once.
fn assert_no_half(told: &Progress) {
    assert_eq!(told.bytes_read, told.requests * 10, "a request without its bytes");
    for stream in told.streams.values() {
        assert_eq!(stream.records, stream.added, "a record of which it is not told what it is");
    }
}

#[test]
fn no_figure_is_lost_and_no_report_sees_a_half_of_one_in_whatever_order_streams_get_on() {
    loom::model(|| {
        let progress = fresh();
        // What it says first was told by an earlier attempt.
        ["one", "other"].iter().for_each(|stream| progress.stored(stream, 0));
        let streams = ["one", "other"].map(|stream| {
            let progress = progress.clone();
            thread::spawn(move || page(&progress, stream, 7))
        });
        assert_no_half(&progress.now());
        streams.into_iter().for_each(|stream| stream.join().unwrap());
        let told = progress.now();
        assert_no_half(&told);
        assert_eq!((told.requests, told.bytes_stored), (2, 14));
        assert_eq!(told.streams.values().map(|stream| stream.records).sum::<u64>(), 2);
    });
}

#[test]
fn two_that_work_on_one_stream_lose_nothing_while_a_report_estimates() {
    loom::model(|| {
        let progress = fresh();
        progress.stream("one", |stream| stream.expected = Some(1));
        let reader = {
            let progress = progress.clone();
            thread::spawn(move || page(&progress, "one", 7))
        };
        let reporter = {
            let progress = progress.clone();
            thread::spawn(move || progress.estimated(Timestamp::UNIX_EPOCH))
        };
        progress.stream("one", |stream| {
            stream.records += 1;
            stream.added += 1;
        });
        let told = reporter.join().unwrap();
        assert_no_half(&told);
        let expected = told.streams["one"].records.max(1);
        assert_eq!(told.estimate.map(|estimate| estimate.records_expected), Some(expected), "of what it reports");
        reader.join().unwrap();
        let told = progress.estimated(Timestamp::UNIX_EPOCH);
        assert_no_half(&told);
        assert_eq!((told.requests, told.streams["one"].records), (1, 2));
    });
}

#[test]
fn figures_of_a_restore_come_whole_and_leave_the_others() {
    loom::model(|| {
        let progress = fresh();
        let restore = {
            let progress = progress.clone();
            let figures = BTreeMap::from(["one", "other"].map(|stream| (stream.to_owned(), RestoreFigures::default())));
            thread::spawn(move || progress.restored(figures))
        };
        progress.add(10, 1, 0);
        let told = progress.now().restored.len();
        assert!(told == 0 || told == 2, "{told}");
        restore.join().unwrap();
        let told = progress.now();
        assert_eq!((told.requests, told.restored.len()), (1, 2));
    });
}
