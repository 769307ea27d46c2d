//! What the embedded identity sends, to the address that it is about.

use super::EmbeddedIdentity;
use crate::{error::Result, letters};

impl EmbeddedIdentity {
    pub(super) async fn send_code(&self, email: &str, name: &str, code: &str) -> Result<()> {
        self.mail.send(&letters::verification(email, name, code)).await
    }

    pub(super) async fn send_reminder(&self, email: &str) -> Result<()> {
        self.mail.send(&letters::already_registered(email)).await
    }

    pub(super) async fn send_reset_code(&self, email: &str, name: &str, code: &str) -> Result<()> {
        self.mail.send(&letters::reset_code(email, name, code)).await
    }

    /// To an address that nobody signs in with.
    pub(super) async fn send_no_reset(&self, email: &str) -> Result<()> {
        self.mail.send(&letters::no_account(email)).await
    }
}
