//! Accounts below accounts. The path of each lists all above it, so that a subtree is a range of an index; how many are right below an
//! account stands in its row, so that whoever moves a subtree knows that none of it is missing where the index is behind.

use serde_json::json;

use super::{ATTEMPTS_MAX, Acting, Changed, Office, lost, never_still};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Account, AccountId, ActivityKind},
    ports::{Condition, Query, SortRange, WRITES_MAX, Write},
    run::event,
    store::{Versioned, key1, put},
    tables::ACCOUNTS,
};

/// How deep a tree may be, its root counted: a path has 31 bytes a level, and is a sort key of an index, of which DynamoDB takes 1,024.
pub const LEVELS_MAX: usize = 33;
/// The most accounts that move together: beside them, a transaction writes both parents and the event.
pub const MOVED_MAX: usize = WRITES_MAX - 3;

impl Office<'_> {
    /// Makes an account below another one. With an id that is there already, it is the account that was made with it.
    ///
    /// # Errors
    /// `Invalid` when it would be too deep; `Conflict` when the id is another account's, or this account is to be deleted.
    pub async fn add_child(&self, acting: Acting<'_>, child_id: AccountId, name: &str) -> Result<Changed<Account>> {
        for _ in 0..ATTEMPTS_MAX {
            let parent = self.store.get::<Account>(acting.scope, key1(acting.account_id())).await?;
            if let Some(made) = self.store.find::<Account>(self.system, key1(child_id)).await? {
                return earlier(made.row, acting.account_id());
            }
            let child = parent.row.child(child_id, name.to_owned(), self.ports.clock.now());
            check_path(&child.path)?;
            check_stays(&parent.row)?;
            let there = Acting { scope: &self.system.account(child_id), ..acting };
            let told =
                there.told(self.ports, ActivityKind::AccountCreated, [("parentId", json!(parent.row.account_id))]);
            let writes = vec![put(&child, Condition::Absent)?, counted(parent, 1)?, event::keep(&told)?];
            let done = self.store.transact(self.system, writes).await;
            if !lost(&done) {
                return done.map(|()| Changed { row: child, events: vec![told] });
            }
        }
        Err(never_still())
    }

    /// Puts an account, and all below it, under another one of the same tree. The caller has been found to administer both.
    ///
    /// # Errors
    /// `Invalid` when `to` is the account itself or below it, when the tree would be too deep or too many accounts would move;
    /// `Conflict` for the root of a tree, and for a target that is to be deleted; `NotFound` for another tree.
    pub async fn move_account(&self, acting: Acting<'_>, to: AccountId) -> Result<Changed<Account>> {
        for _ in 0..ATTEMPTS_MAX {
            let account = self.store.get::<Account>(acting.scope, key1(acting.account_id())).await?;
            let Some(from) = account.row.parent_id else {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "this account is the root of its tree, which stays where it is",
                ));
            };
            if from == to {
                return Ok(Changed { row: account.row, events: Vec::new() });
            }
            let target = self.store.get::<Account>(self.system, key1(to)).await?;
            check_target(&account.row, &target.row)?;
            let Some(subtree) = self.subtree(&account).await? else { continue };
            // Since it was read, the target was moved below the account.
            if subtree.iter().any(|found| found.row.account_id == to) {
                continue;
            }
            let told = acting.told(self.ports, ActivityKind::AccountMoved, [("from", json!(from)), ("to", json!(to))]);
            let mut writes = moved(&account.row, &target.row, subtree)?;
            writes.push(counted(self.store.get::<Account>(self.system, key1(from)).await?, -1)?);
            writes.push(counted(target.clone(), 1)?);
            writes.push(event::keep(&told)?);
            let done = self.store.transact(self.system, writes).await;
            if !lost(&done) {
                done?;
                let path = format!("{}{}/", target.row.path, account.row.account_id);
                let row = Account { parent_id: Some(to), path, ..account.row };
                return Ok(Changed { row, events: vec![told] });
            }
        }
        Err(never_still())
    }

    /// An account and all below it as their rows are now; `None` when the index does not show all of them yet, or no more.
    async fn subtree(&self, top: &Versioned<Account>) -> Result<Option<Vec<Versioned<Account>>>> {
        let query = Query {
            table: &ACCOUNTS,
            index: Some("by-root"),
            partition: top.row.root_id.to_string(),
            sort: SortRange::Prefix(top.row.path.clone()),
            descending: false,
            limit: WRITES_MAX,
            after: None,
        };
        let listed = self.store.query::<Account>(self.system, query).await?;
        if listed.next.is_some() || listed.rows.len() > MOVED_MAX {
            let message = format!(
                "at most {MOVED_MAX} accounts move at once, and there are more below this one: move those first"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let mut subtree = Vec::new();
        for account_id in listed.rows.into_iter().map(|listed| listed.row.account_id) {
            match self.store.find::<Account>(self.system, key1(account_id)).await? {
                Some(now) if now.row.path.starts_with(&top.row.path) => subtree.push(now),
                _ => return Ok(None),
            }
        }
        let below: usize = subtree.iter().map(|account| account.row.children as usize).sum();
        Ok((below + 1 == subtree.len()).then_some(subtree))
    }
}

fn earlier(made: Account, parent_id: AccountId) -> Result<Changed<Account>> {
    if made.parent_id != Some(parent_id) {
        return Err(Error::new(ErrorKind::Conflict, "there is another account of this id"));
    }
    Ok(Changed { row: made, events: Vec::new() })
}

/// The row of a parent with so many more right below it.
pub(crate) fn counted(parent: Versioned<Account>, more: i32) -> Result<Write> {
    let children = parent.row.children.saturating_add_signed(more);
    put(&Account { children, ..parent.row }, Condition::Version(parent.version))
}

fn check_path(path: &str) -> Result<()> {
    if path.split_terminator('/').skip(1).count() <= LEVELS_MAX {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, format!("accounts are at most {LEVELS_MAX} deep; make it higher up")))
}

/// What is about to be deleted takes no accounts in: it has none below it, and keeps it so.
fn check_stays(parent: &Account) -> Result<()> {
    if parent.ending.is_none() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, "the account above is to be deleted; call that off first"))
}

fn check_target(account: &Account, target: &Account) -> Result<()> {
    check_stays(target)?;
    if target.root_id != account.root_id {
        return Err(Error::new(ErrorKind::NotFound, "there is no such account in this tree"));
    }
    if target.path.starts_with(&account.path) {
        return Err(Error::new(ErrorKind::Invalid, "an account cannot be below itself; name one that is not"));
    }
    Ok(())
}

/// Rewrites the paths of a subtree.
fn moved(account: &Account, target: &Account, subtree: Vec<Versioned<Account>>) -> Result<Vec<Write>> {
    let above = account.path.len() - account.account_id.to_string().len() - 1;
    let rewrite = |found: Versioned<Account>| {
        let path = format!("{}{}", target.path, &found.row.path[above..]);
        check_path(&path)?;
        let is_top = found.row.account_id == account.account_id;
        let parent_id = if is_top { Some(target.account_id) } else { found.row.parent_id };
        put(&Account { path, parent_id, ..found.row }, Condition::Version(found.version))
    };
    subtree.into_iter().map(rewrite).collect()
}
