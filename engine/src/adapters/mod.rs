//! Implementations of the ports.

#[cfg(feature = "aws")]
pub mod aws;
mod blob_path;
pub mod embedded;
mod rows;
