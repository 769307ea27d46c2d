//! The tables of a whole store from its objects: for `rebuild`, and for stores that have no tables.

use listbackup_engine::{
    Error, ErrorKind, Result,
    model::AccountId,
    run::{
        RunContext,
        rebuild::{self, RebuiltAccount},
    },
    snapshot::paths,
};

use crate::local;

/// What became of the accounts of a store.
pub struct Rebuilt {
    /// Those that can be read.
    pub accounts: Vec<RebuiltAccount>,
    /// Those whose keys were destroyed: left out.
    pub erased: Vec<AccountId>,
    /// The owner's user was not known.
    pub is_owner_new: bool,
}

/// Makes the rows of accounts, and their owner's.
///
/// # Errors
/// `Corrupt` when the master key does not open an account's keys, before anything is written; those of the stores.
pub async fn rebuild(ctx: &RunContext, all: &[AccountId]) -> Result<Rebuilt> {
    let (account_ids, erased) = without_erased(ctx, all).await?;
    check_key(ctx, &account_ids).await?;
    let mut accounts = Vec::new();
    for account_id in &account_ids {
        let name = match &account_ids[..] {
            [_] => local::ACCOUNT.to_owned(),
            _ => account_id.to_string(),
        };
        accounts.push(rebuild::rebuild(ctx, &ctx.system.account(*account_id), &name).await?);
    }
    let is_owner_new = local::adopt(&ctx.ports, &ctx.system, &account_ids).await?;
    Ok(Rebuilt { accounts, erased, is_owner_new })
}

/// The accounts that can be read, and those whose keys were destroyed.
async fn without_erased(ctx: &RunContext, all: &[AccountId]) -> Result<(Vec<AccountId>, Vec<AccountId>)> {
    let (mut readable, mut erased) = (Vec::new(), Vec::new());
    for account_id in all.iter().copied() {
        let stored = ctx.snapshots.stored_keys(&ctx.system.account(account_id)).await?;
        if stored.destruction.is_none() { readable.push(account_id) } else { erased.push(account_id) }
    }
    Ok((readable, erased))
}

/// The master key must open the keys of all accounts before anything is written.
async fn check_key(ctx: &RunContext, account_ids: &[AccountId]) -> Result<()> {
    for account_id in account_ids {
        let scope = ctx.system.account(*account_id);
        if ctx.ports.blobs.list(&scope, &paths::keys(*account_id), None, 1).await?.is_empty() {
            let message =
                "the account's data keys are missing, and nothing can be read without them; put their copy back";
            return Err(Error::new(ErrorKind::Corrupt, message).with("path", paths::keys(*account_id)));
        }
        let opened = ctx.snapshots.account(&scope).await;
        opened.map_err(|error| match error.kind() {
            ErrorKind::Corrupt => {
                Error::new(ErrorKind::Corrupt, format!("the master key does not open the account's data key: {error}"))
                    .with("account", account_id)
            }
            _ => error,
        })?;
    }
    Ok(())
}
