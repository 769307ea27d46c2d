//! What runs promise, whatever happens to their workers.

mod attachments;
mod crash_points;
mod destroyed;
mod guard;
mod mortal;
mod retention;
mod rules;
mod scripted;
mod supervision;
mod upkeep;
mod world;
