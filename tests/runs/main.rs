//! What runs promise, whatever happens to their workers.

mod activity;
mod attachments;
mod crash_points;
mod destroyed;
mod faults;
mod freshness;
mod guard;
mod meddled;
mod mortal;
mod retention;
mod rules;
mod scripted;
mod sequence;
mod simulation;
mod supervision;
mod tampering;
mod upkeep;
mod world;
