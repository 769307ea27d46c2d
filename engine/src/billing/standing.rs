//! How accounts stand with Stripe, in our rows. Whatever happens there, the same is done here: what the customer has now is fetched, and
//! one transaction makes it the row, with the events that tell what changed. So it does not matter which notices come, in which order,
//! and how often; each is claimed in that transaction by a row of its own.

use serde_json::{Map, Value, json};

use super::{
    letters,
    plans::Plans,
    stripe::{Stripe, Subscriptions},
};
use crate::{
    error::{Error, ErrorKind, Result},
    letters::Payment,
    model::{
        AccountId, ActivityEvent, ActivityKind,
        billing::{BillingContacts, PayingAccount, StripeNotice, Subscription, SubscriptionStatus},
        scope::SystemScope,
    },
    ports::{Condition, Ports, Write},
    run::event::{self, Subject},
    store::{Store, Versioned, key, put},
    tables::BILLING,
    token,
};

/// Writers of the same row that lose this often in a row are not racing, something is wrong.
const ATTEMPTS_MAX: u32 = 32;

/// Keeps the rows that say how accounts stand.
#[derive(Clone, Copy)]
pub struct Books<'a> {
    /// The outside.
    pub ports: &'a Ports,
    /// Typed rows.
    pub store: &'a Store,
    /// Notices of Stripe are of any account.
    pub system: &'a SystemScope,
    /// What prices stand for.
    pub plans: &'a Plans,
    /// Who is asked.
    pub stripe: &'a Stripe,
}

impl Books<'_> {
    /// The account's customer at Stripe; made when there is none. Whoever makes it is its first billing contact.
    ///
    /// # Errors
    /// Those of Stripe and of the store.
    pub async fn customer(&self, account_id: AccountId, name: &str, email: &str) -> Result<PayingAccount> {
        let place = key(account_id, PayingAccount::KEY);
        if let Some(found) = self.store.find::<PayingAccount>(self.system, place.clone()).await? {
            return Ok(found.row);
        }
        let form =
            [("name", name.to_owned()), ("email", email.to_owned()), ("metadata[account_id]", account_id.to_string())];
        let idempotency = token::hash(&format!("customer\n{account_id}\n{name}\n{email}"));
        let customer_id = self.stripe.make_customer(&form, &idempotency).await?;
        let made = PayingAccount::new(account_id, customer_id);
        let mut writes = vec![put(&made, Condition::Absent)?];
        let contacts = key(account_id, BillingContacts::KEY);
        if self.store.find::<BillingContacts>(self.system, contacts).await?.is_none() {
            let contacts = BillingContacts::new(account_id, vec![email.to_owned()]);
            writes.push(put(&contacts, Condition::Absent)?);
        }
        match self.store.transact(self.system, writes).await {
            // Another request was first, with the same customer or another: its row holds.
            Err(error) if error.kind() == ErrorKind::Conflict => {
                Ok(self.store.get::<PayingAccount>(self.system, place).await?.row)
            }
            done => done.map(|()| made),
        }
    }

    /// Takes a notice of Stripe about a customer: true when it had an effect of its own, false when it came before or the customer is none
    /// of ours.
    ///
    /// # Errors
    /// Those of Stripe and of the store: the notice is not claimed then, and Stripe sends it again.
    pub async fn take(&self, event_id: &str, customer_id: &str) -> Result<bool> {
        let found = self.store.find_by::<PayingAccount>(self.system, "by-customer", customer_id).await?;
        let Some(found) = found else { return Ok(false) };
        self.write(found.row.account_id, event::SYSTEM, Some(event_id)).await
    }

    /// Brings an account's row up to date with Stripe.
    ///
    /// # Errors
    /// `NotFound` for an account without a customer; those of Stripe and of the store.
    pub async fn refresh(&self, account_id: AccountId, actor: &str) -> Result<PayingAccount> {
        self.write(account_id, actor, None).await?;
        Ok(self.store.get::<PayingAccount>(self.system, key(account_id, PayingAccount::KEY)).await?.row)
    }

    async fn write(&self, account_id: AccountId, actor: &str, notice: Option<&str>) -> Result<bool> {
        for _ in 0..ATTEMPTS_MAX {
            // Before Stripe is asked, so that of two answers the later one is written last.
            let before = self.store.get::<PayingAccount>(self.system, key(account_id, PayingAccount::KEY)).await?;
            if let Some(event_id) = notice {
                let place = key(account_id, StripeNotice::key(event_id));
                if self.store.find::<StripeNotice>(self.system, place).await?.is_some() {
                    return Ok(false);
                }
            }
            let now = self.ports.clock.now();
            let (row, earlier) = (&before.row, before.row.subscription.as_ref());
            let is_plan = |price: &str| self.plans.priced(price).is_some();
            let told = self.stripe.subscriptions(&row.customer_id, earlier, is_plan, now).await?;
            let Subscriptions { present, others } = told;
            if !self.end_surplus(&before, present.as_ref(), others).await? {
                continue;
            }
            // One that Stripe knows no more is over.
            let gone = earlier.map(|gone| Subscription {
                status: SubscriptionStatus::Canceled,
                unpaid_since: None,
                ..gone.clone()
            });
            let after = PayingAccount { subscription: present.or(gone), surplus: Vec::new(), ..row.clone() };
            let changes = self.changes(row, &after, actor);
            let mut writes = written(&before, &after)?;
            if let Some(event_id) = notice {
                writes.push(put(&StripeNotice::new(account_id, event_id, now), Condition::Absent)?);
            }
            for (event, _) in &changes {
                writes.push(event::keep(event)?);
            }
            match self.store.transact(self.system, writes).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => {
                    done?;
                    self.tell(account_id, changes).await?;
                    return Ok(true);
                }
            }
        }
        Err(Error::new(ErrorKind::Retry, "the account changed under every attempt to write it; try again"))
    }

    /// Ends the subscriptions beside the present one. They are noted and told first, and ended when they have been: so each is told once,
    /// and whoever comes after a crash ends it. False when the row has to be read again.
    async fn end_surplus(
        &self,
        before: &Versioned<PayingAccount>,
        present: Option<&Subscription>,
        others: Vec<Subscription>,
    ) -> Result<bool> {
        let Versioned { row, version } = before;
        let (noted, new): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|one| row.surplus.contains(&one.subscription_id));
        if new.is_empty() {
            for one in noted {
                self.stripe.end(&one.subscription_id).await?;
            }
            return Ok(true);
        }
        let (kind, ids) =
            (ActivityKind::BillingSecondSubscriptionCancelled, |one: &Subscription| one.subscription_id.clone());
        let told = new.iter().map(|one| {
            let mut details: Map<String, Value> = self.details(one).into_iter().collect();
            details.insert("subscriptionId".to_owned(), json!(one.subscription_id));
            details.insert("keptSubscriptionId".to_owned(), json!(present.map(ids)));
            event::event(self.ports, row.account_id, kind, event::SYSTEM, Subject::default(), details)
        });
        let told: Vec<_> = told.collect();
        let after = PayingAccount { surplus: noted.iter().chain(&new).map(ids).collect(), ..row.clone() };
        let mut writes = vec![put(&after, Condition::Version(*version))?];
        for event in &told {
            writes.push(event::keep(event)?);
        }
        match self.store.transact(self.system, writes).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            done => {
                done?;
                event::publish(self.ports, &self.system.account(row.account_id), &told);
            }
        }
        Ok(false)
    }

    async fn tell(&self, account_id: AccountId, changes: Vec<(ActivityEvent, Payment)>) -> Result<()> {
        let scope = self.system.account(account_id);
        for (event, notice) in changes {
            event::publish(self.ports, &scope, std::slice::from_ref(&event));
            letters::send(self.ports, self.system, account_id, &notice).await?;
        }
        Ok(())
    }

    /// What changed, each as its event and its letter.
    fn changes(&self, before: &PayingAccount, after: &PayingAccount, actor: &str) -> Vec<(ActivityEvent, Payment)> {
        let (old, new) = (before.subscription.as_ref(), after.subscription.as_ref());
        let Some(new) = new else { return Vec::new() };
        let lacks =
            |subscription: Option<&Subscription>| subscription.and_then(|subscription| subscription.unpaid_since);
        let mut changes = Vec::new();
        let mut add = |kind: ActivityKind, what: Payment| {
            let details: Map<String, Value> = self.details(new).into_iter().collect();
            let told = event::event(self.ports, after.account_id, kind, actor, Subject::default(), details);
            changes.push((told, what));
        };
        match (lacks(old), lacks(Some(new))) {
            (None, Some(_)) => {
                add(ActivityKind::BillingPaymentFailed, Payment::Failed { stops_at: new.runs_stop_at() })
            }
            (Some(_), None) if new.status.counts() => add(ActivityKind::BillingPaymentMade, Payment::Made),
            _ => {}
        }
        let terms =
            |of: &Subscription| (of.subscription_id.clone(), of.price_id.clone(), of.status.counts(), of.cancels);
        let had_none = old.is_none_or(|old| !old.status.counts());
        if old.map(terms) != Some(terms(new)) && (new.status.counts() || !had_none) {
            add(ActivityKind::BillingSubscriptionChanged, self.subscription_changed(new));
        }
        changes
    }

    fn details(&self, subscription: &Subscription) -> [(String, Value); 4] {
        [
            ("plan".to_owned(), json!(self.plan_name(subscription))),
            ("status".to_owned(), json!(subscription.status)),
            ("cancels".to_owned(), json!(subscription.cancels)),
            ("runsStopAt".to_owned(), json!(subscription.runs_stop_at())),
        ]
    }

    /// The plan that a subscription gives.
    fn plan_name(&self, subscription: &Subscription) -> &str {
        let plan =
            Some(subscription).filter(|one| one.status.counts()).and_then(|one| self.plans.priced(&one.price_id));
        &plan.unwrap_or(self.plans.free()).name
    }

    fn subscription_changed(&self, subscription: &Subscription) -> Payment {
        let plan = self.plan_name(subscription).to_owned();
        match (subscription.status.counts(), subscription.cancels) {
            (false, _) => Payment::Over { plan },
            (true, true) => Payment::Cancelled { plan, ends_at: subscription.period_ends_at },
            (true, false) => Payment::Plan { plan },
        }
    }
}

/// The row, when it changed; else that it stays.
fn written(before: &Versioned<PayingAccount>, after: &PayingAccount) -> Result<Vec<Write>> {
    let condition = Condition::Version(before.version);
    if before.row == *after {
        let key = key(after.account_id, PayingAccount::KEY);
        return Ok(vec![Write::Check { table: &BILLING, key, condition }]);
    }
    Ok(vec![put(after, condition)?])
}
