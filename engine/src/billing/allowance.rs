//! May one more be made? Each answer is a list of writes that go into the transaction of the thing itself: the gate of the account that
//! pays, at the version that was counted under. Of two at a time one loses, and asks again.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{
    family::Family,
    payer::Payer,
    plans::{Limit, Plans},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        AccountId,
        billing::{LateMember, PlanGate},
        scope::SystemScope,
    },
    ports::{Condition, Write},
    store::{Store, Versioned, key, put},
};

/// For how long somebody is remembered whom an index may not show yet: far longer than any is behind.
const LATELY: SignedDuration = SignedDuration::from_mins(1);

/// What plans allow.
#[derive(Clone, Copy)]
pub struct Allowance<'a> {
    /// The plans.
    pub plans: &'a Plans,
    /// Typed rows.
    pub store: &'a Store,
    /// Who pays may be another account.
    pub system: &'a SystemScope,
    /// Now.
    pub now: Timestamp,
}

impl Allowance<'_> {
    /// For one more source.
    ///
    /// # Errors
    /// `OverLimit`; `Retry` when the store cannot be reached.
    pub async fn source(&self, account_id: AccountId) -> Result<Vec<Write>> {
        if !self.plans.any_limits(Limit::Sources) {
            return Ok(Vec::new());
        }
        let payer = self.payer(account_id).await?;
        let plan = payer.plan(self.plans);
        let Some(allowed) = plan.limits.sources else { return Ok(Vec::new()) };
        let gate = self.gate(&payer).await?;
        let used = self.family(&payer).await?.sources(allowed.saturating_add(1)).await?;
        if used >= allowed {
            return Err(payer.over(plan, Limit::Sources, used, allowed));
        }
        through(&gate.row, gate.condition)
    }

    /// For one more member or invitation. Somebody who is a member of another account that the same one pays for is none more.
    ///
    /// # Errors
    /// `OverLimit`; `Retry` when the store cannot be reached.
    pub async fn member(&self, account_id: AccountId, id: &str) -> Result<Vec<Write>> {
        if !self.plans.any_limits(Limit::Members) {
            return Ok(Vec::new());
        }
        let payer = self.payer(account_id).await?;
        let plan = payer.plan(self.plans);
        let Some(allowed) = plan.limits.members else { return Ok(Vec::new()) };
        let Gate { mut row, condition } = self.gate(&payer).await?;
        let now_ms = self.now.as_millisecond();
        row.lately.retain(|late| now_ms - late.at_ms < LATELY.as_secs() * 1000);
        let members = self.family(&payer).await?.members(&row.lately).await?;
        let used = members.len() as u64;
        if used >= allowed && !members.contains(id) {
            return Err(payer.over(plan, Limit::Members, used, allowed));
        }
        row.lately.push(LateMember { id: id.to_owned(), account_id, at_ms: now_ms });
        through(&row, condition)
    }

    /// For one more backup.
    ///
    /// # Errors
    /// `OverLimit`; `Unpaid` when a payment is missing for longer than backups go on; `Retry` when the store cannot be reached.
    pub async fn run(&self, account_id: AccountId) -> Result<Vec<Write>> {
        if !self.plans.is_enforced() {
            return Ok(Vec::new());
        }
        let payer = self.payer(account_id).await?;
        if let Some(subscription) = payer.subscription().filter(|subscription| subscription.is_overdue(self.now)) {
            return Err(unpaid(&payer, subscription.unpaid_since));
        }
        let plan = payer.plan(self.plans);
        if let Some(allowed) = plan.limits.storage_bytes {
            let (_, used) = self.family(&payer).await?.stored().await?;
            if used >= allowed {
                return Err(payer.over(plan, Limit::StorageBytes, used, allowed));
            }
        }
        if !self.plans.any_limits(Limit::RunsAMonth) {
            return Ok(Vec::new());
        }
        // Counted in every plan, so that the number is right when the plan changes in the middle of a month.
        let Gate { mut row, condition } = self.gate(&payer).await?;
        let month = self.month();
        let used = row.runs_in(&month);
        if let Some(allowed) = plan.limits.runs_a_month.filter(|allowed| used >= *allowed) {
            return Err(payer.over(plan, Limit::RunsAMonth, used, allowed));
        }
        (row.month, row.runs) = (month, used + 1);
        through(&row, condition)
    }

    /// The days that snapshots may be kept, where the plan says.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached.
    pub async fn retention_days(&self, account_id: AccountId) -> Result<Option<(Payer, u64)>> {
        if !self.plans.any_limits(Limit::RetentionDays) {
            return Ok(None);
        }
        let payer = self.payer(account_id).await?;
        let days = payer.plan(self.plans).limits.retention_days;
        Ok(days.map(|days| (payer, days)))
    }

    /// What an account and all that it pays for use.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached.
    pub async fn used(&self, payer: &Payer) -> Result<Used> {
        let gate = self.gate(payer).await?.row;
        let family = self.family(payer).await?;
        let (sources, storage_bytes) = family.stored().await?;
        Ok(Used {
            sources,
            storage_bytes,
            members: family.members(&gate.lately).await?.len() as u64,
            runs_this_month: self.plans.any_limits(Limit::RunsAMonth).then(|| gate.runs_in(&self.month())),
        })
    }

    async fn payer(&self, account_id: AccountId) -> Result<Payer> {
        Payer::of(self.store, self.system, account_id).await
    }

    async fn family(&self, payer: &Payer) -> Result<Family<'_>> {
        Family::of(self.store, self.system, payer).await
    }

    /// The gate of a payer: read before anything is counted.
    async fn gate(&self, payer: &Payer) -> Result<Gate> {
        let account_id = payer.account.account_id;
        let found = self.store.find::<PlanGate>(self.system, key(account_id, PlanGate::KEY)).await?;
        Ok(match found {
            Some(Versioned { row, version }) => Gate { row, condition: Condition::Version(version) },
            None => Gate { row: PlanGate::new(account_id), condition: Condition::Absent },
        })
    }

    fn month(&self) -> String {
        self.now.to_zoned(TimeZone::UTC).strftime("%Y-%m").to_string()
    }
}

/// What is used of what plans limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Sources.
    pub sources: u64,
    /// Bytes that the newest snapshots take.
    pub storage_bytes: u64,
    /// Members and open invitations.
    pub members: u64,
    /// Backups ordered in this month; none where no plan limits them.
    pub runs_this_month: Option<u64>,
}

struct Gate {
    row: PlanGate,
    condition: Condition,
}

fn through(row: &PlanGate, condition: Condition) -> Result<Vec<Write>> {
    Ok(vec![put(row, condition)?])
}

fn unpaid(payer: &Payer, since: Option<Timestamp>) -> Error {
    let since = since.map_or_else(String::new, |since| format!(" since {}", since.strftime("%Y-%m-%d")));
    let message = format!(
        "a payment for the account {} is missing{since}, so no new backups begin; what is stored can be read, restored and exported. \
         POST /billing/portal leads to where it is paid",
        payer.account.account_id
    );
    Error::new(ErrorKind::Unpaid, message)
}
