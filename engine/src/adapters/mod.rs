//! Implementations of the ports.

mod blob_path;
pub mod embedded;
