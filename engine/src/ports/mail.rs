//! The port for mail.

use async_trait::async_trait;

use crate::error::Result;

/// A mail to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Address.
    pub to: String,
    /// Subject.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

/// Sends mail.
#[async_trait]
pub trait Mail: Send + Sync {
    /// Hands a letter over for delivery.
    async fn send(&self, letter: &Letter) -> Result<()>;
}
