//! What Stripe's answers say, as far as it is needed.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    model::billing::Subscription,
};

/// An invoice.
#[derive(Clone, Debug)]
pub struct Invoice {
    /// Its id.
    pub id: String,
    /// Its number on paper; none while it is a draft.
    pub number: Option<String>,
    /// `draft`, `open`, `paid`, `uncollectible` or `void`.
    pub status: Option<String>,
    /// In the smallest unit of the currency.
    pub total: i64,
    /// Of that, what is to be paid.
    pub amount_due: i64,
    /// Three letters.
    pub currency: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// A page that shows it.
    pub page_url: Option<String>,
    /// The document.
    pub pdf_url: Option<String>,
}

/// The subscriptions of a customer.
#[derive(Clone, Debug, Default)]
pub struct Subscriptions {
    /// The one that the account has, or had last.
    pub present: Option<Subscription>,
    /// Others of plans that count at the same time.
    pub others: Vec<Subscription>,
}

/// A card.
#[derive(Clone, Debug)]
pub struct PaymentMethod {
    /// Its id.
    pub id: String,
    /// Its brand.
    pub brand: String,
    /// The last four digits.
    pub last4: String,
    /// The month in which it ends.
    pub exp_month: i64,
    /// The year in which it ends.
    pub exp_year: i64,
}

/// A field that must be there.
pub(super) fn text(value: &Value, name: &'static str) -> Result<String> {
    let text = value[name].as_str().ok_or_else(|| lacks(name))?;
    Ok(text.to_owned())
}

/// The items of a list, and whether there are more.
pub(super) fn list<T>(list: &Value, item: impl Fn(&Value) -> Result<T>) -> Result<(Vec<T>, bool)> {
    let items = list["data"].as_array().ok_or_else(|| lacks("data"))?;
    let has_more = list["has_more"].as_bool().unwrap_or(false);
    Ok((items.iter().map(item).collect::<Result<_>>()?, has_more))
}

/// Of a list of subscriptions the one of a plan that is known, if it counts, else the one that does so longest, else the newest; and all
/// others of plans that count. What an operator sells beside plans comes after these.
pub(super) fn subscriptions(
    list: &Value,
    before: Option<&Subscription>,
    is_plan: impl Fn(&str) -> bool,
    now: Timestamp,
) -> Result<Subscriptions> {
    let items = list["data"].as_array().ok_or_else(|| lacks("data"))?;
    let mut found = Vec::new();
    for item in items {
        let created = item["created"].as_i64().unwrap_or(0);
        found.push((created, one(item, before, now)?));
    }
    found.sort_by_cached_key(|(created, one)| {
        let counts = one.status.counts();
        let is_known = before.is_some_and(|before| before.subscription_id == one.subscription_id);
        let age = if counts { *created } else { created.saturating_neg() };
        (!counts, !is_plan(&one.price_id), !(counts && is_known), age, one.subscription_id.clone())
    });
    let mut found = found.into_iter().map(|(_, one)| one);
    let present = found.next();
    let others = found.filter(|one| one.status.counts() && is_plan(&one.price_id)).collect();
    Ok(Subscriptions { present, others })
}

fn one(item: &Value, before: Option<&Subscription>, now: Timestamp) -> Result<Subscription> {
    let part = &item["items"]["data"][0];
    let price = part["price"]["id"].as_str().or_else(|| part["plan"]["id"].as_str()).ok_or_else(|| lacks("price"))?;
    let subscription_id = text(item, "id")?;
    let status = serde_json::from_value(item["status"].clone()).map_err(|_| lacks("status"))?;
    let mut subscription = Subscription {
        subscription_id,
        item_id: text(part, "id")?,
        price_id: price.to_owned(),
        status,
        cancels: item["cancel_at_period_end"].as_bool().unwrap_or(false),
        period_ends_at: time(&item["current_period_end"]).or_else(|| time(&part["current_period_end"])),
        unpaid_since: None,
    };
    if subscription.status.lacks_payment() {
        // The oldest that is known: a later period makes a later invoice.
        let known = before.filter(|before| before.subscription_id == subscription.subscription_id);
        let known = known.and_then(|before| before.unpaid_since);
        let told = time(&item["latest_invoice"]["created"]).or_else(|| time(&item["trial_end"]));
        subscription.unpaid_since = known.into_iter().chain(told).min().or(Some(now));
    }
    Ok(subscription)
}

pub(super) fn invoice(item: &Value) -> Result<Invoice> {
    let optional = |name: &str| item[name].as_str().map(ToOwned::to_owned);
    Ok(Invoice {
        id: text(item, "id")?,
        number: optional("number"),
        status: optional("status"),
        total: item["total"].as_i64().ok_or_else(|| lacks("total"))?,
        amount_due: item["amount_due"].as_i64().ok_or_else(|| lacks("amount_due"))?,
        currency: text(item, "currency")?,
        created_at: time(&item["created"]).ok_or_else(|| lacks("created"))?,
        page_url: optional("hosted_invoice_url"),
        pdf_url: optional("invoice_pdf"),
    })
}

pub(super) fn payment_method(item: &Value) -> Result<PaymentMethod> {
    let card = &item["card"];
    Ok(PaymentMethod {
        id: text(item, "id")?,
        brand: text(card, "brand")?,
        last4: text(card, "last4")?,
        exp_month: card["exp_month"].as_i64().ok_or_else(|| lacks("exp_month"))?,
        exp_year: card["exp_year"].as_i64().ok_or_else(|| lacks("exp_year"))?,
    })
}

fn time(value: &Value) -> Option<Timestamp> {
    Timestamp::from_second(value.as_i64()?).ok()
}

fn lacks(name: &'static str) -> Error {
    Error::new(ErrorKind::Retry, "the payment provider answers in another shape; try again later").with("field", name)
}
