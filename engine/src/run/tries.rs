//! Trying again: how long to wait after a failure, and when to give up. Pauses that a product asks for are no attempts, and
//! they come to an end all the same.

use std::time::Duration;

use super::settings::RunSettings;
use crate::{
    error::{Error, ErrorKind},
    ports::Random,
};

/// The failures of one thing since it last got on.
#[derive(Debug, Default)]
pub struct Tries {
    failed: u32,
    waited: Duration,
}

impl Tries {
    /// How long to wait before the next try, now that the last one ended with `error`; `None` when there is no further one.
    /// Waits double, with jitter, so that what failed together does not come back together.
    pub fn next(&mut self, error: &Error, settings: &RunSettings, random: &dyn Random) -> Option<Duration> {
        let wait = match error.kind() {
            ErrorKind::RateLimited => error.retry_after().unwrap_or(settings.retry_cap).max(settings.retry_base),
            ErrorKind::Retry => {
                self.failed += 1;
                self.backoff(settings, random).max(error.retry_after().unwrap_or_default())
            }
            _ => return None,
        };
        self.waited = self.waited.saturating_add(wait);
        (self.failed < settings.stream_attempts_max && self.waited <= settings.pauses_max).then_some(wait)
    }

    fn backoff(&self, settings: &RunSettings, random: &dyn Random) -> Duration {
        let doubled = doubled(settings.retry_base, self.failed);
        let mut byte = [0];
        random.fill(&mut byte);
        doubled.mul_f64(0.5 + f64::from(byte[0]) / 512.0).min(settings.retry_cap)
    }
}

/// The wait after failure number `failed`, from 1: the first one, doubled with each further one.
pub fn doubled(first: Duration, failed: u32) -> Duration {
    first.saturating_mul(1 << failed.saturating_sub(1).min(16))
}

/// What broke off and is built anew: how long to wait before, and when it is of no more use.
#[derive(Debug, Default)]
pub struct Restarts {
    in_a_row: u32,
}

impl Restarts {
    /// Restarts in a row: about seven minutes of waiting.
    const MAX: u32 = 12;
    /// What lived so long had come to work.
    const SETTLED: Duration = Duration::from_secs(5 * 60);
    /// The first wait.
    const FIRST: Duration = Duration::from_secs(1);
    /// The longest wait.
    const CAP: Duration = Duration::from_secs(60);

    /// How long to wait before the next one, now that one broke off that had lived for `lived`: 1, 2, 4 … 60 seconds. `None` when
    /// no further one helps.
    pub fn next(&mut self, lived: Duration) -> Option<Duration> {
        if lived >= Self::SETTLED {
            self.in_a_row = 0;
        }
        self.in_a_row += 1;
        (self.in_a_row <= Self::MAX).then_some(doubled(Self::FIRST, self.in_a_row).min(Self::CAP))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Half;

    impl Random for Half {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(0);
        }
    }

    fn waits(error: &Error) -> Vec<u64> {
        let (settings, mut tries) = (RunSettings::default(), Tries::default());
        let waits = std::iter::from_fn(|| tries.next(error, &settings, &Half));
        waits.take(100_000).map(|wait| wait.as_millis() as u64).collect()
    }

    fn limited(seconds: Option<u64>) -> Error {
        let error = listbackup_connectors::Error::new(listbackup_connectors::ErrorKind::RateLimited, "slower");
        Error::from(match seconds {
            Some(seconds) => error.after(Duration::from_secs(seconds)),
            None => error,
        })
    }

    #[test]
    fn a_product_that_asks_for_pauses_for_ever_is_left_after_a_day() {
        let minutes = |asked: Option<u64>| waits(&limited(asked)).iter().sum::<u64>() / 60_000;
        assert_eq!(minutes(None), 24 * 60);
        assert_eq!(minutes(Some(0)), 24 * 60);
        assert_eq!(minutes(Some(3_600)), 24 * 60);
        assert_eq!(minutes(Some(365 * 86_400)), 0);
        assert_eq!(minutes(Some(u64::MAX)), 0);
    }

    #[test]
    fn what_passes_by_itself_is_tried_a_few_times_with_doubling_waits_and_nothing_else_is() {
        assert_eq!(waits(&Error::new(ErrorKind::Retry, "away")), [500, 1_000, 2_000, 4_000]);
        assert_eq!(waits(&Error::new(ErrorKind::Invalid, "wrong")), [0; 0]);
    }

    #[test]
    fn what_breaks_off_is_built_anew_with_doubling_waits_until_it_is_of_no_use_and_afresh_once_it_had_lived() {
        let mut restarts = Restarts::default();
        let waits = |restarts: &mut Restarts| -> Vec<u64> {
            std::iter::from_fn(|| restarts.next(Duration::from_secs(1))).map(|wait| wait.as_secs()).collect()
        };
        let doubling = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60];
        assert_eq!(waits(&mut restarts), doubling);
        assert_eq!(restarts.next(Duration::from_secs(1)), None);
        assert_eq!(restarts.next(Duration::from_secs(300)), Some(Duration::from_secs(1)));
        assert_eq!(waits(&mut restarts), doubling[1..]);
    }
}
