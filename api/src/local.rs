//! The account of a data directory's owner: made on first use, so that nobody has to register to back up their own data.

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use listbackup_engine::{
    Error, Result,
    model::{
        AccessKey, Account, AccountId, ActivityKind, KeyId, Membership, Role, User, UserId,
        scope::{AccountScope, SystemScope},
        user::MembershipStatus,
    },
    ports::{Condition, Ports, Query, SortRange},
    run::event::{self, Subject},
    store::{self, Store},
    tables::{USERS, USERS_ACCOUNTS},
};

use crate::caller;

/// Address of the owner's user; nobody can register or sign in by it.
const OWNER: &str = "owner@localhost";
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
    let account = Account::root(AccountId::new(&*ports.clock, &*ports.random), "Local".to_owned(), now);
    let user_id = UserId::new(&*ports.clock, &*ports.random);
    let user = User {
        user_id,
        email: OWNER.to_owned(),
        name: "Owner".to_owned(),
        verified_at: Some(now),
        created_at: now,
        sign_in: None,
    };
    let membership = Membership {
        user_id,
        account_id: account.account_id,
        role: Role::Owner,
        status: MembershipStatus::Active,
        invitation_hash: None,
        invitation_expires_at: None,
        created_at: now,
    };
    let made = event::event(
        ports,
        account.account_id,
        ActivityKind::AccountCreated,
        &user_id.to_string(),
        Subject::default(),
        Default::default(),
    );
    let scope = system.account(account.account_id);
    let writes = vec![
        store::put(&user, Condition::Absent)?,
        store::put(&account, Condition::Absent)?,
        store::put(&membership, Condition::Absent)?,
        event::keep(&made)?,
    ];
    Store::new(ports.tables.clone()).transact(system, writes).await?;
    event::publish(ports, &scope, &[made]).await;
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
    let mut secret = [0; 32];
    ports.random.fill(&mut secret);
    let secret = format!("lbk_{}", URL_SAFE_NO_PAD.encode(secret));
    let key = AccessKey {
        key_id: KeyId::new(&*ports.clock, &*ports.random),
        account_id: local.scope.account_id(),
        user_id: local.user_id,
        name: "the owner's file".to_owned(),
        secret_hash: caller::secret_hash(&secret),
        role: Role::Owner,
        expires_at: None,
        created_at: ports.clock.now(),
    };
    Store::new(ports.tables.clone()).transact(&local.scope, vec![store::put(&key, Condition::Absent)?]).await?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(Error::from)?;
    file.write_all(secret.as_bytes()).and_then(|()| file.sync_all()).map_err(Error::from)?;
    Ok(path)
}
