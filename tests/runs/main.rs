//! What runs promise, whatever happens to their workers.

mod retention;
mod rules;
mod scripted;
mod supervision;
mod world;
