//! What runs promise, whatever happens to their workers.

mod activity;
mod alerts;
mod attachments;
mod behind;
mod broken_off;
mod costs;
mod crash_points;
mod dead_letters;
mod deliveries;
mod desk;
mod destroyed;
mod due_times;
mod ended_accounts;
mod families;
mod faults;
mod followers;
mod freshness;
mod guard;
mod long;
mod meddled;
#[path = "../support/memory/mod.rs"]
mod memory;
mod mortal;
mod policies;
mod rebuilt;
#[path = "../support/requests/mod.rs"]
mod requests;
mod retention;
mod rules;
mod scripted;
mod sequence;
mod simulation;
mod supervision;
mod tampering;
mod unreadable;
mod upkeep;
mod watch;
mod world;
