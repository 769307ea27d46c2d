//! The letters of the embedded identity. Each goes to the address that it is about, and says so: nobody else is told.

use super::EmbeddedIdentity;
use crate::{error::Result, ports::Letter};

impl EmbeddedIdentity {
    pub(super) async fn send_code(&self, email: &str, name: &str, code: &str) -> Result<()> {
        let text = format!(
            "Hello {name},\n\nyour verification code is:\n\nCode: {code}\n\nIt can be used once, within an hour, and was sent to \
             nobody else. If you did not register, ignore this letter: without the code nothing happens."
        );
        self.send(email, "Your ListBackup verification code", text).await
    }

    pub(super) async fn send_reminder(&self, email: &str) -> Result<()> {
        let text = "Somebody, most likely you, registered with this address. It has an account already: sign in, \
                    or reset your password. If it was not you, there is nothing to do.";
        self.send(email, "You have a ListBackup account already", text.to_owned()).await
    }

    pub(super) async fn send_reset_code(&self, email: &str, name: &str, code: &str) -> Result<()> {
        let text = format!(
            "Hello {name},\n\nsomebody, most likely you, asked for a new password. The code that sets one is:\n\nCode: {code}\n\n\
             It can be used once, within an hour, and was sent to nobody else. Using it signs you out everywhere. If you did \
             not ask for it, ignore this letter: without the code nothing happens."
        );
        self.send(email, "Your ListBackup code for a new password", text).await
    }

    /// To an address that nobody signs in with: as much work as for one of somebody, and of use to who has several.
    pub(super) async fn send_no_reset(&self, email: &str) -> Result<()> {
        let text = "Somebody, most likely you, asked for a new password for this address. Nobody signs in to ListBackup with it: \
                    try another address, or register. Nobody else was told so. If it was not you, there is nothing to do.";
        self.send(email, "No ListBackup account has this address", text.to_owned()).await
    }

    async fn send(&self, email: &str, subject: &str, text: String) -> Result<()> {
        self.mail.send(&Letter { to: email.to_owned(), subject: subject.to_owned(), text }).await
    }
}
