//! The account of a data directory's owner: made on first use, so that nobody has to register to back up their own data.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use listbackup_engine::{
    Error, ErrorKind, Result,
    model::{
        AccessKey, Account, AccountId, ActivityKind, KeyId, Membership, Role, User, UserId,
        scope::{AccountScope, SystemScope},
        user::MembershipStatus,
    },
    ports::{Condition, Ports, Query, SortRange},
    run::event::{self, Subject},
    store::{self, Store},
    tables::{USERS, USERS_ACCOUNTS},
    token,
};
use secrecy::ExposeSecret;
use serde_json::{Map, json};

use crate::caller;

/// Address of the owner's user; nobody can register or sign in by it.
const OWNER: &str = "owner@localhost";
/// Name of the owner's account.
pub const ACCOUNT: &str = "Local";
/// Accounts that the owner can be a member of.
const ACCOUNTS_MAX: usize = 200;
/// File with the owner's access key, in the data directory.
const KEY_FILE: &str = "access-key";

/// The owner's place.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// The account.
    pub scope: AccountScope,
    /// The owner.
    pub user_id: UserId,
}

/// The owner's account, if it was made already.
///
/// # Errors
/// `Retry` when the store cannot be read.
pub async fn find(ports: &Ports, system: &SystemScope) -> Result<Option<Local>> {
    let store = Store::new(ports.tables.clone());
    let by_email = one(&USERS, Some("by-email"), OWNER.to_owned());
    let Some(user) = store.query::<User>(system, by_email).await?.rows.into_iter().next() else {
        return Ok(None);
    };
    let user_id = user.row.user_id;
    let memberships = store.query::<Membership>(system, one(&USERS_ACCOUNTS, None, user_id.to_string())).await?;
    Ok(memberships.rows.first().map(|membership| Local { scope: system.account(membership.row.account_id), user_id }))
}

/// The accounts that the owner is a member of, oldest first.
///
/// # Errors
/// `Retry` when the store cannot be read.
pub async fn scopes(ports: &Ports, system: &SystemScope) -> Result<Vec<AccountScope>> {
    let Some(owner) = find(ports, system).await? else { return Ok(Vec::new()) };
    let query = Query { limit: ACCOUNTS_MAX, ..one(&USERS_ACCOUNTS, None, owner.user_id.to_string()) };
    let memberships = Store::new(ports.tables.clone()).query::<Membership>(system, query).await?;
    Ok(memberships.rows.iter().map(|membership| system.account(membership.row.account_id)).collect())
}

/// Makes the owner of the directory a member of accounts whose people are not known any more. True when the owner's user was
/// not known either.
///
/// # Errors
/// `Retry`, `Exhausted` from the store; `Invalid` for more accounts than an owner can have.
pub async fn adopt(ports: &Ports, system: &SystemScope, account_ids: &[AccountId]) -> Result<bool> {
    if account_ids.len() > ACCOUNTS_MAX {
        let message = format!("there are more than {ACCOUNTS_MAX} accounts, which is more than one owner can have");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let store = Store::new(ports.tables.clone());
    let found = store.query::<User>(system, one(&USERS, Some("by-email"), OWNER.to_owned())).await?;
    let known = found.rows.into_iter().next().map(|user| user.row);
    let is_new = known.is_none();
    let user = known.unwrap_or_else(|| owner(ports));
    if is_new {
        store.transact(system, vec![store::put(&user, Condition::Absent)?]).await?;
    }
    for account_id in account_ids {
        if store.find::<Membership>(system, store::key(user.user_id, account_id)).await?.is_none() {
            let membership = ownership(&user, *account_id);
            let told = event::of_membership(ports, &membership, event::SYSTEM, None);
            let writes = vec![store::put(&membership, Condition::Absent)?, event::keep(&told)?];
            store.transact(system, writes).await?;
            event::publish(ports, &system.account(*account_id), &[told]);
        }
    }
    Ok(is_new)
}

/// Forgets the file with the owner's access key, which no row knows any more.
///
/// # Errors
/// `Invalid` when it cannot be removed.
pub fn discard_access_key_file(data_dir: &Path) -> Result<()> {
    match std::fs::remove_file(data_dir.join(KEY_FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::from(error)),
        _ => Ok(()),
    }
}

fn owner(ports: &Ports) -> User {
    let now = ports.clock.now();
    User {
        user_id: UserId::new(&*ports.clock, &*ports.random),
        email: OWNER.to_owned(),
        name: "Owner".to_owned(),
        verified_at: Some(now),
        alerts_off: false,
        created_at: now,
        sign_in: None,
    }
}

fn ownership(user: &User, account_id: AccountId) -> Membership {
    Membership {
        user_id: user.user_id,
        account_id,
        role: Role::Owner,
        status: MembershipStatus::Active,
        created_at: user.created_at,
    }
}

fn one(
    table: &'static listbackup_engine::tables::TableSchema,
    index: Option<&'static str>,
    partition: String,
) -> Query {
    Query { table, index, partition, sort: SortRange::All, descending: false, limit: 1, after: None }
}

/// The owner's account, made when there is none.
///
/// # Errors
/// `Retry`, `Exhausted` from the store.
pub async fn ensure(ports: &Ports, system: &SystemScope) -> Result<Local> {
    if let Some(local) = find(ports, system).await? {
        return Ok(local);
    }
    let now = ports.clock.now();
    let account = Account::root(AccountId::new(&*ports.clock, &*ports.random), ACCOUNT.to_owned(), now);
    let user = owner(ports);
    let user_id = user.user_id;
    let membership = ownership(&user, account.account_id);
    let made = event::event(
        ports,
        account.account_id,
        ActivityKind::AccountCreated,
        &user_id.to_string(),
        Subject::default(),
        Default::default(),
    );
    let joined = event::of_membership(ports, &membership, &user_id.to_string(), Some(made.timestamp));
    let scope = system.account(account.account_id);
    let writes = vec![
        store::put(&user, Condition::Absent)?,
        store::put(&account, Condition::Absent)?,
        store::put(&membership, Condition::Absent)?,
        event::keep(&made)?,
        event::keep(&joined)?,
    ];
    Store::new(ports.tables.clone()).transact(system, writes).await?;
    event::publish(ports, &scope, &[made, joined]);
    Ok(Local { scope, user_id })
}

/// The file with the owner's access key (mode 0600), made with a new key when there is none.
///
/// # Errors
/// `Invalid`, `Exhausted` when the file cannot be written.
pub async fn access_key_file(ports: &Ports, local: &Local, data_dir: &Path) -> Result<PathBuf> {
    let path = data_dir.join(KEY_FILE);
    if path.exists() {
        return Ok(path);
    }
    let secret = token::new(caller::KEY_PREFIX, &*ports.random);
    let key = AccessKey {
        key_id: KeyId::new(&*ports.clock, &*ports.random),
        account_id: local.scope.account_id(),
        user_id: local.user_id,
        name: "the owner's file".to_owned(),
        secret_hash: token::hash(secret.expose_secret()),
        role: Role::Owner,
        scopes: None,
        expires_at: None,
        created_at: ports.clock.now(),
    };
    let details = Map::from_iter([("name".to_owned(), json!(key.name)), ("role".to_owned(), json!(key.role))]);
    let (account_id, actor) = (key.account_id, local.user_id.to_string());
    let made = event::event(ports, account_id, ActivityKind::KeyCreated, &actor, Subject::default(), details);
    let writes = vec![store::put(&key, Condition::Absent)?, event::keep(&made)?];
    Store::new(ports.tables.clone()).transact(&local.scope, writes).await?;
    event::publish(ports, &local.scope, &[made]);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(Error::from)?;
    file.write_all(secret.expose_secret().as_bytes()).and_then(|()| file.sync_all()).map_err(Error::from)?;
    Ok(path)
}
