//! The port for mail.

use async_trait::async_trait;

use crate::error::Result;

/// A mail to send, as [`crate::letters`] write them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Address.
    pub to: String,
    /// Subject.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// The same as a page.
    pub html: String,
}

/// Sends mail.
#[async_trait]
pub trait Mail: Send + Sync {
    /// Hands a letter over for delivery.
    async fn send(&self, letter: &Letter) -> Result<()>;

    /// False where no letter can be sent, since nobody said how.
    fn is_set_up(&self) -> bool;
}
