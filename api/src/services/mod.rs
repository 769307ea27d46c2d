//! The handlers, one file a noun. They read the request, ask the engine, and show what it says; rules live in the engine.

pub mod accounts;
pub mod activity;
pub mod activity_chain;
pub mod activity_export;
pub mod analytics;
pub mod analytics_sources;
pub mod auth;
pub mod billing;
pub mod billing_changes;
pub mod billing_contacts;
pub mod billing_invoices;
pub mod billing_views;
pub mod billing_webhooks;
pub mod connections;
pub mod data_keys;
pub mod dead_letters;
pub mod diffs;
pub mod exports;
pub mod files;
pub mod guard;
pub mod health;
pub mod hierarchy;
pub mod histories;
pub mod integrations;
pub mod invitations;
pub mod job_views;
pub mod jobs;
pub mod keys;
pub mod marks;
pub mod me;
pub mod members;
pub mod oauth_apps;
pub mod own_integrations;
mod own_letters;
pub mod passwords;
pub mod policies;
pub mod records;
pub mod restores;
pub mod retention;
pub mod runs;
pub mod schedules;
pub mod search;
pub mod second_factor;
pub mod sign_ins;
pub mod snapshots;
pub mod source_actions;
pub mod source_views;
pub mod sources;
pub mod subtree;
pub mod system;
pub mod usage;
pub mod verify;
pub mod webhook_deliveries;
pub mod webhooks;

use actix_web::web::Json;

use crate::problem::Problem;

/// What most handlers return.
pub type Answer<T> = Result<Json<T>, Problem>;
