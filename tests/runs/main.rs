//! What runs promise, whatever happens to their workers.

mod attachments;
mod broken_off;
mod crash_points;
mod destroyed;
mod faults;
mod guard;
mod long;
mod meddled;
mod mortal;
mod retention;
mod rules;
mod scripted;
mod sequence;
mod simulation;
mod supervision;
mod upkeep;
mod world;
