//! What an attempt to deliver comes to. Pure.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Waits before the second attempt, the third and so on.
const WAITS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 60 * 60),
    Duration::from_secs(5 * 60 * 60),
    Duration::from_secs(10 * 60 * 60),
    Duration::from_secs(14 * 60 * 60),
    Duration::from_secs(20 * 60 * 60),
    Duration::from_secs(24 * 60 * 60),
];
/// A receiver may ask for this long a wait at most.
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// A webhook at which nothing has arrived for so long is disabled.
const FAILING_MAX: SignedDuration = SignedDuration::from_hours(5 * 24);
/// The same when a delivery has used up its attempts: something else may have arrived in between.
const FAILING_AT_THE_END: SignedDuration = SignedDuration::from_hours(24);
/// "Gone": whoever answers so wants nothing any more.
const GONE: u16 = 410;

/// How one attempt went.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// How long the receiver asks to wait.
    pub retry_after: Option<Duration>,
    /// What went wrong, shortened; `None` when it arrived.
    pub error: Option<String>,
}

/// What becomes of the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrived.
    Delivered,
    /// It is sent again after this.
    Again(Duration),
    /// It is given up.
    GiveUp,
    /// It is given up, and the webhook disabled for this reason.
    Disable(&'static str),
}

/// Judges an attempt, which was the one with that number from 1, at a webhook where nothing has arrived since an instant. `jitter` is
/// between 0 and 1: waits are up to a fifth longer, so that not all come back at once.
pub fn judge(attempt: &Attempt, number: u32, failing_since: Timestamp, now: Timestamp, jitter: f64) -> Verdict {
    let failing_for = now.duration_since(failing_since);
    if attempt.error.is_none() {
        return Verdict::Delivered;
    }
    if attempt.status == Some(GONE) {
        return Verdict::Disable("the receiver answered 410: it is gone");
    }
    if failing_for >= FAILING_MAX {
        return Verdict::Disable("nothing arrived for five days");
    }
    let wait = usize::try_from(number).ok().and_then(|number| WAITS.get(number.saturating_sub(1)));
    match wait {
        Some(wait) => {
            let asked = attempt.retry_after.unwrap_or_default().min(WAIT_MAX);
            Verdict::Again(wait.mul_f64(1.0 + jitter / 5.0).max(asked))
        }
        None if failing_for >= FAILING_AT_THE_END => {
            Verdict::Disable("an event was sent ten times, and nothing arrived")
        }
        None => Verdict::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(status: u16) -> Attempt {
        Attempt { status: Some(status), retry_after: None, error: Some("no".to_owned()) }
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours)
    }

    #[test]
    fn waits_grow_from_seconds_to_a_day_and_then_the_webhook_is_disabled() {
        let waits: Vec<_> = (1..=9)
            .map(|number| match judge(&failed(500), number, at(0), at(80), 0.0) {
                Verdict::Again(wait) => wait.as_secs(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(waits, [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]);
        assert!(matches!(judge(&failed(500), 10, at(0), at(80), 0.0), Verdict::Disable(_)));
        assert_eq!(judge(&failed(500), 10, at(79), at(80), 0.0), Verdict::GiveUp, "others arrived meanwhile");
        assert!(matches!(judge(&failed(500), 2, at(0), at(120), 0.0), Verdict::Disable(_)));
    }

    #[test]
    fn a_receiver_may_ask_for_a_longer_wait_and_may_say_that_it_is_gone() {
        let asks = |seconds| Attempt { retry_after: Some(Duration::from_secs(seconds)), ..failed(429) };
        let judged = |attempt: &Attempt, jitter| judge(attempt, 1, at(0), at(0), jitter);
        assert_eq!(judged(&asks(600), 1.0), Verdict::Again(Duration::from_secs(600)));
        assert_eq!(judged(&asks(1), 1.0), Verdict::Again(Duration::from_secs(6)));
        assert_eq!(judged(&asks(1_000_000_000), 0.0), Verdict::Again(WAIT_MAX));
        assert!(matches!(judged(&failed(410), 0.0), Verdict::Disable(_)));
        assert_eq!(judged(&Attempt { status: Some(204), ..Attempt::default() }, 0.0), Verdict::Delivered);
    }
}
