//! Whose data a store call may touch. A scope can be built only from authority already proved: a membership, an access
//! key, or the system's own root.

use super::AccountId;

/// The right to act inside one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountScope(AccountId);

impl AccountScope {
    /// The account.
    pub fn account_id(&self) -> AccountId {
        self.0
    }
}

/// The system's own authority: sign-in, schedulers and workers, which serve all accounts.
#[derive(Clone, Copy, Debug)]
pub struct SystemScope(());

impl SystemScope {
    /// Taken once by the place that builds the process (or a test); everybody else is handed theirs.
    pub fn of_this_process() -> Self {
        Self(())
    }

    /// Narrows to an account, after the caller's membership, key or message was checked against it.
    pub fn account(&self, account_id: AccountId) -> AccountScope {
        AccountScope(account_id)
    }
}

/// The scope of one store call.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// Rows of one account.
    Account(&'a AccountScope),
    /// Rows of all accounts and of tables that no account owns.
    System(&'a SystemScope),
}

impl<'a> From<&'a AccountScope> for Scope<'a> {
    fn from(scope: &'a AccountScope) -> Self {
        Self::Account(scope)
    }
}

impl<'a> From<&'a SystemScope> for Scope<'a> {
    fn from(scope: &'a SystemScope) -> Self {
        Self::System(scope)
    }
}
