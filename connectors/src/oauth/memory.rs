//! Tokens kept in memory: for one-shot commands that bring their tokens along.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::{
    connector::{CredentialStore, Tokens},
    error::{Error, ErrorKind, Result},
};

/// A credential store that ends with the process. What it holds last can be read back with [`CredentialStore::load`].
#[derive(Default)]
pub struct MemoryCredentials(Mutex<Option<Tokens>>);

impl MemoryCredentials {
    /// Holds `tokens`.
    pub fn new(tokens: Tokens) -> Self {
        Self(Mutex::new(Some(tokens)))
    }

    /// Holds nothing: for grants that need no sign-in by a person.
    pub fn empty() -> Self {
        Self::default()
    }
}

#[async_trait]
impl CredentialStore for MemoryCredentials {
    async fn load(&self) -> Result<Option<Tokens>> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn rotate(&self, tokens: &Tokens) -> Result<()> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let version = held.as_ref().map_or(0, |held| held.version);
        if tokens.version != version + 1 {
            let message = format!("the tokens of version {version} cannot become version {}", tokens.version);
            return Err(Error::new(ErrorKind::Retry, message));
        }
        *held = Some(tokens.clone());
        Ok(())
    }
}
