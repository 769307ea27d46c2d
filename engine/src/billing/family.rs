//! What an account and all that it pays for use. Sources and members that limits hold back are counted from the rows themselves; what
//! storage comes to is a sum.

use std::collections::BTreeSet;

use futures::TryStreamExt;

use super::payer::Payer;
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        Account, AccountId, Counter,
        billing::{LateMember, PayingAccount},
        counter::Of,
        scope::SystemScope,
    },
    ports::{Query, SortRange},
    store::{Store, key},
    tables::{ACCOUNTS, SOURCES, USERS_ACCOUNTS},
};

/// Rows of one read.
const PAGE: usize = 200;

/// The accounts that one account pays for, itself among them.
pub struct Family<'a> {
    store: &'a Store,
    system: &'a SystemScope,
    accounts: Vec<AccountId>,
}

impl<'a> Family<'a> {
    /// The accounts below a payer that have no nearer one.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached, or does not show an account yet that was made just now.
    pub async fn of(store: &'a Store, system: &'a SystemScope, payer: &Payer) -> Result<Self> {
        let top = &payer.account;
        if top.children == 0 {
            return Ok(Self { store, system, accounts: vec![top.account_id] });
        }
        let query = rows(&ACCOUNTS, Some("by-root"), &top.root_id, SortRange::Prefix(top.path.clone()));
        let subtree: Vec<Account> = store.all(system, query).await?;
        let below: usize = subtree.iter().map(|account| account.children as usize).sum();
        if below + 1 != subtree.len() {
            let message = "an account of this tree was made or moved just now, and is not counted yet; try again";
            return Err(Error::new(ErrorKind::Retry, message));
        }
        let mut apart: Vec<String> = Vec::new();
        let mut accounts = Vec::new();
        // By their paths, so that each comes after those above it.
        for account in subtree {
            if apart.iter().any(|path| account.path.starts_with(path.as_str())) {
                continue;
            }
            if account.account_id != top.account_id {
                let place = key(account.account_id, PayingAccount::KEY);
                let standing = store.find::<PayingAccount>(system, place).await?;
                if standing.is_some_and(|standing| standing.row.current().is_some()) {
                    apart.push(account.path);
                    continue;
                }
            }
            accounts.push(account.account_id);
        }
        Ok(Self { store, system, accounts })
    }

    /// Sources, up to `bound` of them.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached.
    pub async fn sources(&self, bound: u64) -> Result<u64> {
        let mut found = 0;
        for account_id in &self.accounts {
            let query = rows(&SOURCES, None, account_id, SortRange::All);
            let mut sources = std::pin::pin!(self.store.items(self.system.into(), query));
            while found < bound && sources.try_next().await?.is_some() {
                found += 1;
            }
        }
        Ok(found)
    }

    /// Sources, and the bytes that their newest snapshots take, as they are counted with what happens: seconds behind it, and
    /// however many sources there are, one row an account is read.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached.
    pub async fn stored(&self) -> Result<(u64, u64)> {
        let (mut sources, mut bytes) = (0, 0_u64);
        for account_id in &self.accounts {
            let place = key(account_id, Of::Account.now());
            let Some(counted) = self.store.find::<Counter>(self.system, place).await? else { continue };
            sources += counted.row.sources;
            bytes = bytes.saturating_add(counted.row.figures.live_bytes);
        }
        Ok((sources, bytes))
    }

    /// People who are members of any of the accounts, and open invitations, each once. `lately` are looked for one by one where the
    /// index does not show them.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached.
    pub async fn members(&self, lately: &[LateMember]) -> Result<BTreeSet<String>> {
        let mut ids = BTreeSet::new();
        for account_id in &self.accounts {
            let query = rows(&USERS_ACCOUNTS, Some("by-account"), account_id, SortRange::All);
            let mut members = std::pin::pin!(self.store.items(self.system.into(), query));
            while let Some(member) = members.try_next().await? {
                ids.extend(member.body.get("userId").and_then(serde_json::Value::as_str).map(ToOwned::to_owned));
            }
        }
        for late in lately.iter().filter(|late| self.accounts.contains(&late.account_id)) {
            let place = rows(&USERS_ACCOUNTS, None, &late.id, SortRange::Prefix(late.account_id.to_string()));
            if !ids.contains(&late.id) && !self.store.page(self.system, place).await?.items.is_empty() {
                ids.insert(late.id.clone());
            }
        }
        Ok(ids)
    }
}

fn rows(
    table: &'static crate::tables::TableSchema,
    index: Option<&'static str>,
    partition: &impl ToString,
    sort: SortRange,
) -> Query {
    Query { table, index, partition: partition.to_string(), sort, descending: false, limit: PAGE, after: None }
}
