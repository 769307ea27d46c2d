//! Pauses that a product asks for: they are no attempts, and they come to an end all the same.

use std::time::Duration;

use super::settings::RunSettings;

/// The pauses since the product last gave something.
#[derive(Debug, Default)]
pub struct Pauses(Duration);

impl Pauses {
    /// How long to wait now that it `asked` for a pause; `None` when it has asked for too much.
    pub fn next(&mut self, asked: Option<Duration>, settings: &RunSettings) -> Option<Duration> {
        let wait = asked.unwrap_or(settings.retry_cap).max(settings.retry_base);
        self.0 = self.0.saturating_add(wait);
        (self.0 <= settings.pauses_max).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_that_asks_for_pauses_for_ever_is_left_after_a_day() {
        let settings = RunSettings::default();
        let minutes = |asked: Option<u64>| {
            let mut pauses = Pauses::default();
            let waits = std::iter::from_fn(|| pauses.next(asked.map(Duration::from_secs), &settings));
            waits.take(100_000).sum::<Duration>().as_secs() / 60
        };
        assert_eq!(minutes(None), 24 * 60);
        assert_eq!(minutes(Some(0)), 24 * 60);
        assert_eq!(minutes(Some(3_600)), 24 * 60);
        assert_eq!(minutes(Some(365 * 86_400)), 0);
        assert_eq!(minutes(Some(u64::MAX)), 0);
    }
}
