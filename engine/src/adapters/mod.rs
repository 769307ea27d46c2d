//! Implementations of the ports.

mod authenticator;
#[cfg(feature = "aws")]
pub mod aws;
mod blob_path;
pub mod embedded;
mod first_account;
mod mime;
mod registrant;
mod rows;
pub mod smtp;
