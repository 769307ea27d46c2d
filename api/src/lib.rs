//! The HTTP API, the console and the program `listbackup`; the only place that picks adapters.
//!
//! A request goes through [`server`] (sockets, limits) to [`gate`] (its id, its problem document; who may call) and one
//! of the [`services`]. [`routes`] has every route on one screen.

pub mod allocator;
pub mod body;
pub mod bucket;
pub mod caller;
pub mod changes;
pub mod check;
pub mod cli;
pub mod closed;
pub mod compression;
pub mod config;
pub mod csv;
pub mod demo;
pub mod download;
pub mod downloads;
pub mod etag;
pub mod gate;
pub mod gauges;
pub mod idempotency;
pub mod jwt;
pub mod key_scopes;
pub mod local;
pub mod lookup;
pub mod openapi;
pub mod paging;
pub mod problem;
pub mod process;
pub mod protection;
pub mod ranged;
pub mod rebuilding;
pub mod routes;
pub mod sandbox;
pub mod schemas;
pub mod server;
pub mod services;
pub mod signal;
pub mod sse;
pub mod state;
pub mod strangers;
pub mod worker;
