//! Retention of a source as the API speaks of it. Only administrators change it: it decides what is deleted.

use listbackup_engine::{
    billing::{
        Limit, Payer,
        retention::{reach, within},
    },
    model::{KeepRules, Source, role::Action},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    caller::{Caller, no_right},
    problem::Problem,
    state::AppState,
};

/// The longest lock: a hundred years.
const LOCK_DAYS_MAX: u32 = 36_500;

/// Which snapshots are kept: of each hour, day, week, month or year that has some the newest counts. With all counts at 0
/// everything is kept. The newest snapshot, and what is pinned, held or locked, always stays.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionRules {
    /// The newest so many.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 100_000)]
    last: u32,
    /// The newest of each of so many hours.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 100_000)]
    hourly: u32,
    /// The newest of each of so many days.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 100_000)]
    daily: u32,
    /// The newest of each of so many ISO weeks.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 100_000)]
    weekly: u32,
    /// The newest of each of so many months.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 100_000)]
    monthly: u32,
    /// The newest of each of so many years.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 100_000)]
    yearly: u32,
    /// IANA time zone in which hours, days, weeks, months and years begin.
    #[serde(default = "utc")]
    #[schema(max_length = 100, default = "UTC")]
    time_zone: String,
}

fn utc() -> String {
    KeepRules::default().time_zone
}

impl RetentionRules {
    /// As a source shows them.
    pub fn of(rules: KeepRules) -> Self {
        let KeepRules { last, hourly, daily, weekly, monthly, yearly, time_zone } = rules;
        Self { last, hourly, daily, weekly, monthly, yearly, time_zone }
    }

    fn rules(self) -> KeepRules {
        let Self { last, hourly, daily, weekly, monthly, yearly, time_zone } = self;
        KeepRules { last, hourly, daily, weekly, monthly, yearly, time_zone }
    }
}

/// What a body says of retention and lock, checked.
pub struct Accepted {
    rules: Option<Option<KeepRules>>,
    lock_days: Option<u32>,
}

impl Accepted {
    /// Changes what the body speaks of.
    pub fn apply(&self, source: &mut Source) {
        if let Some(rules) = &self.rules {
            source.retention.clone_from(rules);
        }
        source.lock_days = self.lock_days.unwrap_or(source.lock_days);
    }
}

impl Accepted {
    /// For a new source: one that names no rules gets those of the plan of who pays, where that says how long snapshots are kept.
    ///
    /// # Errors
    /// 402 when they are to be kept for longer.
    pub async fn of_new(self, state: &AppState, caller: &Caller) -> Result<Self, Problem> {
        let Some((payer, days)) = state.allowance().retention_days(caller.account_id()).await? else { return Ok(self) };
        let rules = self.rules.unwrap_or_else(|| Some(within(days)));
        check_reach(state, &payer, days, rules.as_ref(), self.lock_days.unwrap_or(0))?;
        Ok(Self { rules: Some(rules), lock_days: self.lock_days })
    }

    /// For a source that is there: what was chosen under another plan stays until somebody changes it.
    ///
    /// # Errors
    /// 402 when snapshots are to be kept for longer than the plan of who pays says.
    pub async fn check(&self, state: &AppState, caller: &Caller, source: &Source) -> Result<(), Problem> {
        if self.rules.is_none() && self.lock_days.is_none() {
            return Ok(());
        }
        let Some((payer, days)) = state.allowance().retention_days(caller.account_id()).await? else { return Ok(()) };
        let rules = self.rules.as_ref().unwrap_or(&source.retention);
        check_reach(state, &payer, days, rules.as_ref(), self.lock_days.unwrap_or(source.lock_days))
    }
}

fn check_reach(
    state: &AppState,
    payer: &Payer,
    days: u64,
    rules: Option<&KeepRules>,
    lock_days: u32,
) -> Result<(), Problem> {
    match reach(rules, lock_days) {
        Some(asked) if asked <= days => Ok(()),
        asked => Err(payer.over(payer.plan(state.plans()), Limit::RetentionDays, asked, days).into()),
    }
}

/// Checks what a body says of retention and lock. Rules that are `null` take the source's rules away.
///
/// # Errors
/// 403 for a caller who may not decide what is deleted; 422 for an unknown time zone or too long a lock.
pub fn accept(
    caller: &Caller,
    retention: Option<Option<RetentionRules>>,
    lock_days: Option<u32>,
) -> Result<Accepted, Problem> {
    if (retention.is_some() || lock_days.is_some()) && !caller.allows(Action::Administer) {
        return Err(no_right());
    }
    let rules = retention.map(|rules| rules.map(RetentionRules::rules));
    if let Some(Some(rules)) = &rules {
        rules.zone().map_err(|error| Problem::from(error).under("/retention"))?;
    }
    if lock_days.is_some_and(|days| days > LOCK_DAYS_MAX) {
        return Err(Problem::invalid_field("/lock_days", format!("must be 0 to {LOCK_DAYS_MAX} days")));
    }
    Ok(Accepted { rules, lock_days })
}
