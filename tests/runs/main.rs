//! What runs promise, whatever happens to their workers.

mod attachments;
mod crash_points;
mod desk;
mod destroyed;
mod faults;
mod guard;
mod meddled;
#[path = "../support/memory/mod.rs"]
mod memory;
mod mortal;
mod retention;
mod rules;
mod scripted;
mod sequence;
mod simulation;
mod supervision;
mod upkeep;
mod watch;
mod world;
