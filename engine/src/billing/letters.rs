//! Letters to those who see to the payments of an account.

use crate::{
    error::Result,
    letters::{Payment, payment},
    model::{AccountId, billing::BillingContacts, scope::SystemScope},
    ports::Ports,
    store::{Store, key},
};

/// Tells each of an account's billing contacts. What it tells has happened: a letter that cannot be sent is told in the log, and the
/// activity has the event all the same.
///
/// # Errors
/// `Retry` when the contacts cannot be read.
pub async fn send(ports: &Ports, system: &SystemScope, account_id: AccountId, what: &Payment) -> Result<()> {
    let store = Store::new(ports.tables.clone());
    let contacts = store.find::<BillingContacts>(system, key(account_id, BillingContacts::KEY)).await?;
    for to in contacts.map(|contacts| contacts.row.emails).unwrap_or_default() {
        let letter = payment(&to, what);
        if let Err(error) = ports.mail.send(&letter).await {
            tracing::error!(%error, account = %account_id, subject = letter.subject, "a letter about payments was not sent");
        }
    }
    Ok(())
}
