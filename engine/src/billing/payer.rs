//! Who pays for an account: its nearest ancestor, or itself, with a subscription of its own, else the root of its tree.

use super::plans::{Limit, Plan, Plans};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        Account, AccountId,
        billing::{PayingAccount, Subscription},
        scope::SystemScope,
    },
    store::{Store, Versioned, key, key1},
};

/// The account that pays.
#[derive(Clone, Debug)]
pub struct Payer {
    /// Its row.
    pub account: Account,
    /// Its standing; none before it is known to Stripe.
    pub standing: Option<Versioned<PayingAccount>>,
}

impl Payer {
    /// Finds who pays for an account.
    ///
    /// # Errors
    /// `NotFound` when there is no such account; `Retry` when the store cannot be reached.
    pub async fn of(store: &Store, system: &SystemScope, account_id: AccountId) -> Result<Self> {
        let own = store.get::<Account>(system, key1(account_id)).await?.row;
        let mut standing = None;
        let mut payer_id = own.root_id;
        for ancestor in own.path.split('/').rev().filter(|segment| !segment.is_empty()) {
            let found = store.find::<PayingAccount>(system, key(ancestor, PayingAccount::KEY)).await?;
            let pays = found.as_ref().is_some_and(|found| found.row.current().is_some());
            // The root comes last, and pays where nobody below does.
            standing = found;
            if pays {
                payer_id = ancestor.parse()?;
                break;
            }
        }
        let account =
            if payer_id == own.account_id { own } else { store.get::<Account>(system, key1(payer_id)).await?.row };
        Ok(Self { account, standing })
    }

    /// The subscription that counts now.
    pub fn subscription(&self) -> Option<&Subscription> {
        self.standing.as_ref().and_then(|standing| standing.row.current())
    }

    /// The plan that holds for all that it pays for.
    pub fn plan<'a>(&self, plans: &'a Plans) -> &'a Plan {
        let Some(subscription) = self.subscription() else { return plans.free() };
        plans.priced(&subscription.price_id).unwrap_or_else(|| {
            let (account, price) = (self.account.account_id, &subscription.price_id);
            tracing::error!(%account, price, "an account pays a price that no plan has; it has the free plan");
            plans.free()
        })
    }

    /// The refusal of one more than a plan allows.
    pub fn over(&self, plan: &Plan, limit: Limit, used: impl Into<Option<u64>>, allowed: u64) -> Error {
        let what = match limit {
            Limit::Sources => "sources",
            Limit::StorageBytes => "bytes stored",
            Limit::RunsAMonth => "runs in this month",
            Limit::Members => "members and open invitations",
            Limit::RetentionDays => "days of retention",
        };
        // Of a retention that keeps everything there is no number.
        let used = used.into().map_or_else(|| "more".to_owned(), |used| used.to_string());
        let name: String = self.account.name.chars().filter(|letter| !letter.is_control()).collect();
        let message = format!(
            "the plan `{}` allows {allowed} {what} (`{}`), and {used} are used or asked for; whoever sees to the billing of the \
             account \"{name}\" ({}), which pays, raises it by another plan: POST /billing/checkout or POST /billing/subscription",
            plan.name,
            limit.code(),
            self.account.account_id,
        );
        Error::new(ErrorKind::OverLimit, message).with("limit", limit.code())
    }
}
