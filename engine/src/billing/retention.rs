//! Retention rules under a plan that says for how many days snapshots are kept.

use crate::model::KeepRules;

/// The most of each kind that rules may name.
const COUNT_MAX: u64 = 100_000;

/// The rules of a source that names none: one of each hour, for so many days.
pub fn within(days: u64) -> KeepRules {
    let count = |count: u64| u32::try_from(count.min(COUNT_MAX)).unwrap_or(0);
    KeepRules { hourly: count(days.saturating_mul(24)), daily: count(days), ..KeepRules::default() }
}

/// The most days that a source's rules and lock keep a snapshot for; `None` for ever. The newest so many count as one a day.
pub fn reach(rules: Option<&KeepRules>, lock_days: u32) -> Option<u64> {
    let rules = rules.filter(|rules| !rules.keep_everything())?;
    let hours = u64::from(rules.hourly).div_ceil(24);
    let kinds = [(rules.last, 1), (rules.daily, 1), (rules.weekly, 7), (rules.monthly, 31), (rules.yearly, 366)];
    let longest = kinds.into_iter().map(|(count, days)| u64::from(count) * days).max().unwrap_or(0);
    Some(longest.max(hours).max(u64::from(lock_days)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_reach_as_far_as_their_longest_kind() {
        let rules = KeepRules { hourly: 49, daily: 2, weekly: 2, ..KeepRules::default() };
        assert_eq!(reach(Some(&rules), 0), Some(14));
        assert_eq!(reach(Some(&rules), 30), Some(30));
        assert_eq!(reach(Some(&KeepRules { hourly: 49, ..KeepRules::default() }), 0), Some(3));
        assert_eq!(reach(Some(&within(30)), 0), Some(30));
        assert_eq!((reach(None, 1), reach(Some(&KeepRules::default()), 1)), (None, None), "everything is kept");
    }
}
