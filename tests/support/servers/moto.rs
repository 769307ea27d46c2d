//! moto: an AWS account of its own, from memory; a second opinion beside ministack's.

use super::{process::Server, python};

/// Starts an empty account.
pub fn start() -> Server {
    let python = python().expect("`installed` was asked before");
    Server::start(&[python.as_os_str(), "tests/support/servers/serve_moto.py".as_ref()], &[])
}
