//! What runs promise, whatever happens to their workers.

mod attachments;
mod destroyed;
mod guard;
mod retention;
mod rules;
mod scripted;
mod supervision;
mod upkeep;
mod world;
