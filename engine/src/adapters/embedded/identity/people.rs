//! People, their accounts and memberships, as the rows of the tables port hold them.

use jiff::Timestamp;
use rusqlite::Connection;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::registration::Applicant;
use crate::{
    adapters::{
        embedded::tables::{self, Writes},
        first_account,
        rows::Reach,
    },
    error::{Error, ErrorKind, Result},
    model::{Account, AccountId, Membership, User, UserId, user::MembershipStatus},
    ports::{Condition, Item, Query, SortRange},
    store::{self, Versioned},
    tables::{Row, USERS, USERS_ACCOUNTS},
};

/// Memberships of one person that are looked through.
const MAX_MEMBERSHIPS: usize = 1000;

impl User {
    /// The hash of the password; `None` until the address is proved.
    pub(super) fn password_hash(&self) -> Option<&str> {
        self.sign_in.as_ref()?.get("passwordHash")?.as_str()
    }
}

/// The person with this address.
pub(super) fn by_email(connection: &Connection, now_s: i64, email: &str) -> Result<Option<Versioned<User>>> {
    let query = Query {
        table: &USERS,
        index: Some("by-email"),
        partition: email.to_owned(),
        sort: SortRange::All,
        descending: false,
        limit: 1,
        after: None,
    };
    Ok(rows(connection, now_s, &query)?.into_iter().next())
}

/// The person of this id.
pub(super) fn by_id(connection: &Connection, now_s: i64, user_id: UserId) -> Result<Option<Versioned<User>>> {
    let key = store::key1(user_id);
    tables::get(connection, now_s, &Reach::Everything, User::TABLE, &key)?.map(decode).transpose()
}

/// Sets the password of a person who has proved their address.
pub(super) fn set_password(
    connection: &Connection,
    now: Timestamp,
    user: Versioned<User>,
    password_hash: &str,
) -> Result<()> {
    let Versioned { row: mut user, version } = user;
    user.sign_in = Some(json!({ "passwordHash": password_hash }));
    put(connection, now, &user, Condition::Version(version))
}

/// The person with this address, made when there is none.
pub(super) fn find_or_add(
    connection: &Connection,
    now: Timestamp,
    email: &str,
    name: &str,
    user_id: UserId,
) -> Result<User> {
    if let Some(user) = by_email(connection, now.as_second(), email)? {
        return Ok(user.row);
    }
    let user = User {
        user_id,
        email: email.to_owned(),
        name: name.to_owned(),
        verified_at: None,
        alerts_off: false,
        created_at: now,
        sign_in: None,
    };
    put(connection, now, &user, Condition::Absent)?;
    Ok(user)
}

/// Lets a person in who proved the address: the name and password of that registration count from now on, and without
/// a place in any account they get one of their own. `None` when they are in already.
pub(super) fn admit(
    connection: &Connection,
    now: Timestamp,
    applicant: &Applicant,
    account_id: AccountId,
) -> Result<Option<UserId>> {
    let Some(Versioned { row: mut user, version }) = by_email(connection, now.as_second(), &applicant.email)? else {
        return Ok(None);
    };
    if user.verified_at.is_some() {
        return Ok(None);
    }
    user.name.clone_from(&applicant.name);
    user.verified_at = Some(now);
    user.sign_in = Some(json!({ "passwordHash": applicant.password_hash }));
    put(connection, now, &user, Condition::Version(version))?;
    if active_memberships(connection, now.as_second(), user.user_id)?.is_empty() {
        let writes = first_account::writes(user.user_id, &user.name, account_id, now)?;
        Writes::of_everybody(writes)?.carry_out(connection, now.as_second())??;
    }
    Ok(Some(user.user_id))
}

/// The account that a person asked for, or their first.
///
/// # Errors
/// `Denied` when they have no place in it, or in any.
pub(super) fn account_to_work_in(
    connection: &Connection,
    now_s: i64,
    user_id: UserId,
    wanted: Option<AccountId>,
) -> Result<AccountId> {
    let found = match wanted {
        Some(account_id) => may_work_in(connection, now_s, user_id, account_id)?.then_some(account_id),
        None => active_memberships(connection, now_s, user_id)?.first().map(|membership| membership.account_id),
    };
    found.ok_or_else(|| {
        Error::new(ErrorKind::Denied, "you are not a member of this account; ask its owner to invite you")
    })
}

/// True when a person is a member of the account or of one above it.
pub(super) fn may_work_in(connection: &Connection, now_s: i64, user_id: UserId, account_id: AccountId) -> Result<bool> {
    let key = store::key1(account_id);
    let Some(item) = tables::get(connection, now_s, &Reach::Everything, Account::TABLE, &key)? else {
        return Ok(false);
    };
    let account: Versioned<Account> = decode(item)?;
    let memberships = active_memberships(connection, now_s, user_id)?;
    Ok(account
        .row
        .path
        .split('/')
        .filter(|ancestor| !ancestor.is_empty())
        .any(|ancestor| memberships.iter().any(|membership| membership.account_id.to_string() == ancestor)))
}

fn active_memberships(connection: &Connection, now_s: i64, user_id: UserId) -> Result<Vec<Membership>> {
    let query = Query {
        table: &USERS_ACCOUNTS,
        index: None,
        partition: user_id.to_string(),
        sort: SortRange::All,
        descending: false,
        limit: MAX_MEMBERSHIPS,
        after: None,
    };
    let rows: Vec<Versioned<Membership>> = rows(connection, now_s, &query)?;
    Ok(rows.into_iter().map(|found| found.row).filter(|row| row.status == MembershipStatus::Active).collect())
}

fn rows<R: Row>(connection: &Connection, now_s: i64, query: &Query) -> Result<Vec<Versioned<R>>> {
    tables::page(connection, now_s, &Reach::Everything, query)?.items.into_iter().map(decode).collect()
}

fn put<R: Row + Serialize>(connection: &Connection, now: Timestamp, row: &R, condition: Condition) -> Result<()> {
    Writes::of_everybody(vec![store::put(row, condition)?])?.carry_out(connection, now.as_second())?
}

fn decode<R: Row + DeserializeOwned>(item: Item) -> Result<Versioned<R>> {
    let version = item.version;
    serde_json::from_value(Value::Object(item.body)).map(|row| Versioned { row, version }).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "a stored row has another shape").with("table", R::TABLE.name).caused_by(error)
    })
}
