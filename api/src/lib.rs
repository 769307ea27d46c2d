//! The HTTP API, the console and the program `listbackup`.

pub mod sandbox;
