//! ministack: an AWS account of its own, from memory.

use super::{process::Server, python};

/// Starts an empty account.
pub fn start() -> Server {
    let python = python().expect("`installed` was asked before");
    Server::start(&[python.as_os_str(), "tests/support/servers/serve_ministack.py".as_ref()], &[])
}
