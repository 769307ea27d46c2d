//! Roles, and what each may do.

use serde::{Deserialize, Serialize};

/// What a member may do in an account and, unless lowered there, in its subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, ownership included.
    Owner,
    /// Everything but ownership.
    Admin,
    /// Run, restore, configure sources and jobs.
    Operator,
    /// Look.
    Viewer,
    /// Plans and invoices only.
    Billing,
}

/// A kind of action that a role may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read sources, jobs, runs, activity and backed-up records.
    Read,
    /// Configure sources and jobs, run, cancel, restore, verify.
    Operate,
    /// Members, access keys, account settings.
    Administer,
    /// Plans, invoices, payment methods.
    Bill,
    /// Give and take ownership, delete the account.
    Own,
}

impl Role {
    /// True when the role allows the action.
    pub fn allows(self, action: Action) -> bool {
        match self {
            Self::Owner => true,
            Self::Admin => action != Action::Own,
            Self::Operator => matches!(action, Action::Read | Action::Operate),
            Self::Viewer => action == Action::Read,
            Self::Billing => action == Action::Bill,
        }
    }
}
