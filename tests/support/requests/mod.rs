//! What a fleet asks of AWS, counted without AWS: processes of a fleet on tokio's paused clock and over stores in memory, and at each of
//! their ports a counter that knows what the adapter for AWS would send (`map.rs`). For what a fleet costs, at sizes that nobody can
//! run on one machine: `benches/costs.rs` and `tests/runs/costs.rs`.

#![allow(dead_code, reason = "each test binary uses a part of the kit")]

mod counted;
mod fleet;
pub mod map;
mod meter;
mod product;

pub use self::{
    fleet::{Fleet, Sources, simulate},
    map::Service,
    meter::Counts,
    product::Product,
};
