//! All orders in which threads can meet where they share state, tried by a model checker on the engine's own source. Each module
//! takes in one file of it, and puts locks of the model checker in the place of the real ones.

mod group_commit;
mod keys;
#[path = "../../engine/src/latest.rs"]
mod latest;
mod progress;
mod stop;
mod sync;

use listbackup_engine::{error, model};
