//! How far a run is, and when it will be through.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::run::{Estimate, Progress, StreamProgress, StreamState};

/// Records that this attempt has read must be worth a guess.
const ENOUGH: Duration = Duration::from_secs(2);

/// What an attempt has done so far.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Records that were there when it began.
    pub records_before: u64,
    /// How long it has been reading.
    pub elapsed: Duration,
}

/// The estimate of a run that has come so far; `None` while a stream is to be read of which nothing is known, as in a first
/// backup.
pub fn of(progress: &Progress, pace: Pace, now: Timestamp) -> Option<Estimate> {
    let mut records_expected = 0;
    for stream in progress.streams.values() {
        records_expected += expected(stream)?;
    }
    let records = records_of(progress);
    let read = records.saturating_sub(pace.records_before);
    let left = records_expected - records.min(records_expected);
    let ends_at = (read > 0 && pace.elapsed >= ENOUGH)
        .then(|| pace.elapsed.mul_f64(left as f64 / read as f64))
        .and_then(|wait| now.checked_add(wait).ok());
    Some(Estimate { records_expected, ends_at })
}

/// Records that have come so far.
pub fn records_of(progress: &Progress) -> u64 {
    progress.streams.values().map(|stream| stream.records).sum()
}

fn expected(stream: &StreamProgress) -> Option<u64> {
    match stream.state {
        StreamState::Done | StreamState::Failed => Some(stream.records),
        StreamState::Waiting | StreamState::Reading => stream.expected.map(|expected| expected.max(stream.records)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(state: StreamState, expected: Option<u64>, records: u64) -> StreamProgress {
        StreamProgress { state, expected, records, ..StreamProgress::default() }
    }

    fn progress(streams: &[StreamProgress]) -> Progress {
        let named = streams.iter().enumerate().map(|(n, stream)| (n.to_string(), stream.clone()));
        Progress { streams: named.collect(), ..Progress::default() }
    }

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn a_run_is_through_when_what_is_left_has_come_as_fast_as_what_came() {
        let run = progress(&[
            stream(StreamState::Done, Some(50), 100),
            stream(StreamState::Reading, Some(400), 100),
            stream(StreamState::Waiting, Some(100), 0),
        ]);
        let pace = Pace { records_before: 100, elapsed: Duration::from_secs(10) };
        let estimate = of(&run, pace, NOW).expect("all is known");
        assert_eq!(estimate.records_expected, 600);
        assert_eq!(estimate.ends_at.expect("it has read").as_second(), 40);
    }

    #[test]
    fn nothing_is_guessed_of_what_is_unknown_or_has_hardly_begun() {
        let pace = Pace { records_before: 0, elapsed: Duration::from_secs(10) };
        let first = progress(&[stream(StreamState::Reading, None, 10)]);
        assert_eq!(of(&first, pace, NOW), None);
        let idle = progress(&[stream(StreamState::Reading, Some(10), 0)]);
        assert_eq!(of(&idle, pace, NOW).expect("known").ends_at, None);
        let grown = progress(&[stream(StreamState::Reading, Some(10), 30)]);
        let estimate = of(&grown, pace, NOW).expect("known");
        assert_eq!((estimate.records_expected, estimate.ends_at), (30, Some(NOW)));
    }
}
