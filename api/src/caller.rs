//! Who calls: a person with an access token or a program with an access key. This is the only place of the API that
//! makes an [`AccountScope`], after membership was read from the table, on each request.

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, http::header};
use listbackup_engine::{
    Error, ErrorKind,
    accounts::{Acting, roles::role_in},
    model::{AccessKey, Account, AccountId, KeyId, Role, UserId, role::Action, scope::AccountScope},
    ports::Person,
    store::key1,
    token,
};
use secrecy::SecretString;
use std::future::{Ready, ready};

use crate::{key_scopes::KeyScope, problem::Problem, state::AppState};

/// Names the account that a person works in, where their access token does not: those of a user pool.
pub const ACCOUNT_HEADER: &str = "listbackup-account";

/// What access keys start with.
pub const KEY_PREFIX: &str = "lbk_";

/// What a route asks of its caller; enforced by [`crate::gate::admit`], so that no handler can forget it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Nothing: anybody may call.
    Open,
    /// A member of the account, in whatever role.
    Member,
    /// A member, or one of their access keys, whose role allows the action.
    May(Action),
    /// A member, in whatever role, but a person: how somebody signs in is not for an access key.
    Person,
    /// As `May`, but a person: an access key must not make or withdraw access keys.
    PersonMay(Action),
    /// Whoever runs this process: from this machine, or with the token of the settings.
    Operator,
}

/// The authenticated caller, working in one account.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The person, or the owner of the access key.
    pub user_id: UserId,
    /// The person's present role in the account.
    pub role: Role,
    /// The access key and the most that it may do, when a program calls.
    pub key: Option<(KeyId, Role)>,
    /// What the access key is for, where that is less than its role allows.
    scopes: Option<Vec<KeyScope>>,
    scope: AccountScope,
}

impl Caller {
    /// A person whose role in the account was just read, without a request of their own.
    pub fn of_member(state: &AppState, user_id: UserId, account_id: AccountId, role: Role) -> Self {
        Self { user_id, role, key: None, scopes: None, scope: state.system.account(account_id) }
    }

    /// The right to act in the caller's account.
    pub fn scope(&self) -> &AccountScope {
        &self.scope
    }

    /// The account that this request works in.
    pub fn account_id(&self) -> AccountId {
        self.scope.account_id()
    }

    /// Who acts, for the activity log.
    pub fn actor(&self) -> String {
        self.key.map_or_else(|| self.user_id.to_string(), |(key_id, _)| key_id.to_string())
    }

    /// The same, for changes to the account itself.
    pub fn acting<'a>(&'a self, actor: &'a str) -> Acting<'a> {
        Acting { scope: &self.scope, actor, may_own: self.allows(Action::Own) }
    }

    /// True when the access key is for what `needed` says, or for everything, or none is used.
    pub fn has_scope(&self, needed: KeyScope) -> bool {
        self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|scope| scope.covers(needed)))
    }

    /// True when both the person's role and the key's allow the action.
    pub fn allows(&self, action: Action) -> bool {
        self.role.allows(action) && self.key.is_none_or(|(_, role)| role.allows(action))
    }
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        // Absent only behind `Guard::Open`: the gate puts it there.
        let caller = request.extensions().get::<Self>().cloned();
        ready(caller.ok_or_else(|| Problem::unauthenticated("this route needs a caller")))
    }
}

/// The access token of the person who calls; for routes behind `Guard::Person` only.
pub struct AccessToken(pub SecretString);

impl FromRequest for AccessToken {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let token = bearer(request).ok_or_else(|| Problem::unauthenticated("this route needs a person"));
        ready(token.map(|token| Self(token.into())))
    }
}

impl AccessToken {
    /// The caller, as the identity asks for somebody who is signed in.
    pub fn of(&self, caller: &Caller) -> Person<'_> {
        Person { user_id: caller.user_id, access_token: &self.0 }
    }
}

/// Reads the `Authorization` header and proves who calls.
///
/// # Errors
/// 401 when the credentials are absent, wrong or no longer good for their account.
pub async fn authenticate(state: &AppState, request: &HttpRequest) -> Result<Caller, Problem> {
    let credentials = bearer(request).ok_or_else(|| {
        Problem::unauthenticated("send `Authorization: Bearer` with an access token or an access key")
    })?;
    let caller = match credentials.strip_prefix(KEY_PREFIX) {
        Some(_) => by_access_key(state, credentials).await,
        None => by_token(state, request, credentials).await,
    };
    caller.map_err(|error| match error.kind() {
        ErrorKind::Denied => Problem::unauthenticated(error.message()),
        _ => error.into(),
    })
}

/// The credentials of an `Authorization: Bearer` header.
pub fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credentials.trim())
}

async fn by_token(state: &AppState, request: &HttpRequest, token: &str) -> Result<Caller, Error> {
    let subject = state.verifier.verify(token).await?;
    let account_id = subject.account_id.or_else(|| named_account(request)).ok_or_else(|| {
        let message = format!("the token is for no account; name the one that you work in: `{ACCOUNT_HEADER}: acc_…`");
        Error::new(ErrorKind::Denied, message)
    })?;
    let role = role_in(&state.store, &state.system, subject.user_id, account_id).await?.ok_or_else(no_member)?;
    let scope = state.system.account(account_id);
    Ok(Caller { user_id: subject.user_id, role, key: None, scopes: None, scope })
}

/// The account that a request names; membership is looked up all the same.
fn named_account(request: &HttpRequest) -> Option<AccountId> {
    request.headers().get(ACCOUNT_HEADER)?.to_str().ok()?.parse().ok()
}

async fn by_access_key(state: &AppState, secret: &str) -> Result<Caller, Error> {
    let found = state.store.find_by::<AccessKey>(&state.system, "by-hash", token::hash(secret)).await?;
    let access_key = found.ok_or_else(|| Error::new(ErrorKind::Denied, "there is no such access key"))?.row;
    if access_key.expires_at.is_some_and(|end| end <= state.now()) {
        return Err(Error::new(ErrorKind::Denied, "the access key has expired; make a new one"));
    }
    let role =
        role_in(&state.store, &state.system, access_key.user_id, access_key.account_id).await?.ok_or_else(no_member)?;
    let scope = state.system.account(access_key.account_id);
    // A word that this version does not know lets nobody in anywhere.
    let scopes = access_key.scopes.map(|words| words.iter().filter_map(|word| word.parse().ok()).collect());
    Ok(Caller { user_id: access_key.user_id, role, key: Some((access_key.key_id, access_key.role)), scopes, scope })
}

fn no_member() -> Error {
    Error::new(ErrorKind::Denied, "you are not, or no longer, a member of this account; sign in again")
}

/// Bytes in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Enters an account at or below the caller's own, with the role that the caller has there.
///
/// # Errors
/// 404 when the account is elsewhere; 403 when the role there does not allow the action.
pub async fn enter(
    state: &AppState,
    caller: &Caller,
    account_id: AccountId,
    action: Action,
) -> Result<Caller, Problem> {
    let entered = enter_as_member(state, caller, account_id).await?;
    if entered.allows(action) { Ok(entered) } else { Err(no_right()) }
}

/// Enters an account at or below the caller's own, in whatever role.
///
/// # Errors
/// 404 when the account is elsewhere.
pub async fn enter_as_member(state: &AppState, caller: &Caller, account_id: AccountId) -> Result<Caller, Problem> {
    if account_id != caller.account_id() {
        let account = state.store.find::<Account>(&state.system, key1(account_id)).await?;
        let inside = format!("/{}/", caller.account_id());
        account.filter(|found| found.row.path.contains(&inside)).ok_or_else(Problem::not_found)?;
    }
    let role = role_in(&state.store, &state.system, caller.user_id, account_id).await?;
    let role = role.ok_or_else(Problem::not_found)?;
    Ok(Caller { role, scope: state.system.account(account_id), ..caller.clone() })
}

/// The answer to a caller whose role is too low.
pub fn no_right() -> Problem {
    Problem::denied("your role in this account does not allow this; ask an administrator of the account")
}
