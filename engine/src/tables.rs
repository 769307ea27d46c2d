//! THE schema: all tables with their keys and indexes. The embedded store, the AWS adapter and the deployment
//! templates follow this file; a test holds them together.
//!
//! A row is a JSON object (camelCase, as in the original system). Its key and index attributes are ordinary
//! attributes of the object, named here; an index is sparse: a row without its attributes is not in it.

use serde::{Serialize, de::DeserializeOwned};

/// Type of a key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeType {
    /// Text, ordered by bytes.
    Text,
    /// A whole number of 64 bits.
    Number,
}

/// A key attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Name in the row's JSON.
    pub name: &'static str,
    /// Its type.
    pub kind: AttributeType,
}

/// A secondary index over rows that have its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexSchema {
    /// Name, unique in its table.
    pub name: &'static str,
    /// Rows with equal values here are read together.
    pub partition: Attribute,
    /// Order within a partition.
    pub sort: Option<Attribute>,
}

/// Who may see a row of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// The row carries `accountId` and belongs to that account.
    Account,
    /// No account owns the row; only the system's own code (sign-in, OAuth callback) reads it.
    System,
}

/// One table.
#[derive(Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// Name without the stage: `sources` becomes `listbackup-<stage>-sources`.
    pub name: &'static str,
    /// Partition key.
    pub partition: Attribute,
    /// Sort key.
    pub sort: Option<Attribute>,
    /// Secondary indexes.
    pub indexes: &'static [IndexSchema],
    /// Attribute with the instant (seconds since 1970) at which the row expires.
    pub expires: Option<&'static str>,
    /// Who owns its rows.
    pub ownership: Ownership,
}

const fn text(name: &'static str) -> Attribute {
    Attribute { name, kind: AttributeType::Text }
}

const fn number(name: &'static str) -> Attribute {
    Attribute { name, kind: AttributeType::Number }
}

const fn index(name: &'static str, partition: Attribute, sort: Option<Attribute>) -> IndexSchema {
    IndexSchema { name, partition, sort }
}

/// People.
pub static USERS: TableSchema = TableSchema {
    name: "users",
    partition: text("userId"),
    sort: None,
    indexes: &[index("by-email", text("email"), None)],
    expires: None,
    ownership: Ownership::System,
};

/// Accounts in their hierarchy; `path` lists the ancestors (`/acc_a/acc_b/`) so that a subtree is a prefix. `endingShard` and `endsMs` are
/// there only in an account that somebody has asked to delete.
pub static ACCOUNTS: TableSchema = TableSchema {
    name: "accounts",
    partition: text("accountId"),
    sort: None,
    indexes: &[
        index("by-parent", text("parentId"), Some(text("accountId"))),
        index("by-root", text("rootId"), Some(text("path"))),
        index("ending", text("endingShard"), Some(number("endsMs"))),
    ],
    expires: None,
    ownership: Ownership::Account,
};

/// Who is a member of what, with which role; invitations too.
pub static USERS_ACCOUNTS: TableSchema = TableSchema {
    name: "users-accounts",
    partition: text("userId"),
    sort: Some(text("accountId")),
    indexes: &[
        index("by-account", text("accountId"), Some(text("userId"))),
        index("by-invitation", text("invitationHash"), None),
    ],
    expires: None,
    ownership: Ownership::Account,
};

/// Connected products: settings, head snapshot, epoch, lease; `upkeepShard` and `upkeepDueMs` come with the first snapshot,
/// `watchShard` says whether it is stale.
pub static SOURCES: TableSchema = TableSchema {
    name: "sources",
    partition: text("accountId"),
    sort: Some(text("sourceId")),
    indexes: &[
        index("by-integration", text("integration"), Some(text("sourceId"))),
        index("upkeep", text("upkeepShard"), Some(number("upkeepDueMs"))),
        index("watch", text("watchShard"), Some(number("watchDueMs"))),
    ],
    expires: None,
    ownership: Ownership::Account,
};

/// Jobs; `dueShard` and `nextDueMs` are there only while a schedule is active.
pub static JOBS: TableSchema = TableSchema {
    name: "jobs",
    partition: text("accountId"),
    sort: Some(text("jobId")),
    indexes: &[
        index("by-source", text("sourceId"), Some(text("jobId"))),
        index("due", text("dueShard"), Some(number("nextDueMs"))),
    ],
    expires: None,
    ownership: Ownership::Account,
};

/// Runs; `liveShard` and `leaseExpiresMs` are there only until the run has ended, `waitingJobId` only in a backup that somebody
/// ordered and nobody has begun.
pub static RUNS: TableSchema = TableSchema {
    name: "runs",
    partition: text("jobId"),
    sort: Some(text("runId")),
    indexes: &[
        index("by-account", text("accountId"), Some(text("runId"))),
        index("by-source", text("sourceId"), Some(text("runId"))),
        index("by-id", text("runId"), None),
        index("live", text("liveShard"), Some(number("leaseExpiresMs"))),
        index("waiting", text("waitingJobId"), Some(text("runId"))),
    ],
    expires: None,
    ownership: Ownership::Account,
};

/// One row per stream of a snapshot and per attachment; partition is `<accountId>#<sourceId>`, sort `<path>#<snapshotId>`.
pub static FILES: TableSchema = TableSchema {
    name: "files",
    partition: text("accountSource"),
    sort: Some(text("pathSnapshot")),
    indexes: &[index("by-account", text("accountId"), Some(text("fileId")))],
    expires: None,
    ownership: Ownership::Account,
};

/// The append-only log of events, and of each account the head of their chain, under an id before those of events. `outboxShard`
/// is there until an event has its place in the chain, and in a head until the event bus has all events up to it.
pub static ACTIVITY: TableSchema = TableSchema {
    name: "activity",
    partition: text("eventId"),
    sort: Some(number("timestamp")),
    indexes: &[
        index("by-account", text("accountId"), Some(text("eventId"))),
        index("by-source", text("sourceId"), Some(text("eventId"))),
        index("chain", text("accountId"), Some(number("sequence"))),
        index("outbox", text("outboxShard"), Some(text("eventId"))),
    ],
    expires: None,
    ownership: Ownership::Account,
};

/// OAuth sign-ins under way; the key is the SHA-256 of the state parameter.
pub static OAUTH_STATES: TableSchema = TableSchema {
    name: "oauth-states",
    partition: text("stateHash"),
    sort: None,
    indexes: &[],
    expires: Some("expiresAt"),
    ownership: Ownership::System,
};

/// Integration credentials (sealed) and access keys for REST callers (hashed).
pub static API_KEYS: TableSchema = TableSchema {
    name: "api-keys",
    partition: text("keyId"),
    sort: None,
    indexes: &[index("by-account", text("accountId"), Some(text("keyId"))), index("by-hash", text("secretHash"), None)],
    expires: None,
    ownership: Ownership::Account,
};

/// Sums of what runs came to, by day: of an account, of each integration and of each source.
pub static COUNTERS: TableSchema = TableSchema {
    name: "counters",
    partition: text("accountId"),
    sort: Some(text("counterKey")),
    indexes: &[],
    expires: None,
    ownership: Ownership::Account,
};

/// Where an account wants events sent to, and the deliveries, which expire; `dueShard` and `nextAttemptMs` are in a delivery until it
/// has arrived or is given up.
pub static WEBHOOKS: TableSchema = TableSchema {
    name: "webhooks",
    partition: text("accountId"),
    sort: Some(text("webhookKey")),
    indexes: &[index("due", text("dueShard"), Some(number("nextAttemptMs")))],
    expires: Some("expiresAt"),
    ownership: Ownership::Account,
};

/// Of accounts that pay: subscription, contacts, and the notices that the payment provider sent, which expire.
pub static BILLING: TableSchema = TableSchema {
    name: "billing",
    partition: text("accountId"),
    sort: Some(text("billingKey")),
    indexes: &[index("by-customer", text("customerId"), None)],
    expires: Some("expiresAt"),
    ownership: Ownership::Account,
};

/// Integrations of an account's own, each version of their manifests, and its own applications for signing in to products.
pub static INTEGRATIONS: TableSchema = TableSchema {
    name: "integrations",
    partition: text("accountId"),
    sort: Some(text("integrationKey")),
    indexes: &[],
    expires: None,
    ownership: Ownership::Account,
};

/// All tables.
pub static ALL: [&TableSchema; 14] = [
    &USERS,
    &ACCOUNTS,
    &USERS_ACCOUNTS,
    &SOURCES,
    &JOBS,
    &RUNS,
    &FILES,
    &ACTIVITY,
    &OAUTH_STATES,
    &API_KEYS,
    &COUNTERS,
    &WEBHOOKS,
    &BILLING,
    &INTEGRATIONS,
];

/// A noun that is stored as a row. Serialises to a JSON object that holds the key attributes of its table.
pub trait Row: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Its table.
    const TABLE: &'static TableSchema;
}

impl TableSchema {
    /// The index of that name.
    pub fn index(&self, name: &str) -> Option<&'static IndexSchema> {
        self.indexes.iter().find(|index| index.name == name)
    }
}
