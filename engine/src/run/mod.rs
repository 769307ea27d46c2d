//! A run, from a due job to a committed snapshot, as plain async functions over the ports. No actor is needed to call
//! them: `actors/` only supervises, tests call them directly.
//!
//! The way of a run: [`due`] ([`schedule`] knows the due times, [`policies`] judge them) → [`order`] (a row, then a
//! message; for people over HTTP [`allowed`] by their plan) → [`claim`] (the source's lease, one epoch on) → [`session`] (what to read, from where) → [`pipeline`] (pages
//! into the store, [`checkpoint`]s under the fence) → [`commit`] (one conditional write, after [`absence`] looked for mass
//! deletions) → [`index`] (rows to browse).
//!
//! What happened is told by [`event`]s, which the [`relay`] hands on; [`followers`] of their chain derive sums from them,
//! [`deliveries`] to webhooks and [`alerts`] by mail; a [`bell`] tells who sends those.
//!
//! A run of another kind writes records of a snapshot back into the product: [`restore`].
//!
//! Apart from runs, [`upkeep`] looks after stored snapshots once a day: [`retention`] lets go of them by the source's rules,
//! [`collection`] deletes the segments that nothing refers to any more. [`watch`] tells
//! when a source is stale by [`freshness`]. By hand only, [`keys`] changes and
//! destroys an account's data keys, [`rewrap`] wraps them anew. When the tables are lost, [`rebuild`] makes them anew.

pub mod absence;
pub mod account_end;
pub mod alerts;
pub mod allowed;
pub mod attachments;
pub mod bell;
pub mod chain_check;
pub mod checkpoint;
pub mod claim;
pub mod collection;
pub mod commit;
pub mod conclude;
pub mod connect;
pub mod context;
pub mod counted;
mod credential;
pub mod deadline;
pub mod deliveries;
pub mod delivery;
pub mod drill;
pub mod due;
pub mod ended;
pub mod estimate;
pub mod event;
pub mod files;
pub mod first_job;
pub mod followers;
pub mod freshness;
pub mod full_settings;
pub mod index;
pub mod keys;
pub mod lease;
pub mod linked;
mod live;
pub mod live_progress;
pub mod oauth_apps;
pub mod order;
pub mod own_integrations;
pub mod pipeline;
pub mod places;
pub mod policies;
pub mod progress;
pub mod pulse;
mod reader;
pub mod rebuild;
pub mod relay;
pub mod restore;
pub mod retention;
pub mod rewrap;
pub mod schedule;
pub mod session;
pub mod settings;
mod source_tokens;
pub mod sources;
pub mod stop;
pub mod tries;
pub mod update;
pub mod upkeep;
pub mod watch;

pub use context::RunContext;
pub use settings::RunSettings;
pub use source_tokens::Turns;
