//! Tokens kept in memory: for one-shot commands that bring their tokens along.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use crate::{
    connector::{CredentialStore, TokenPlace, Tokens},
    error::{Error, ErrorKind, Result},
};

/// A credential store that ends with the process. What it holds last can be read back with [`CredentialStore::load`].
#[derive(Default)]
pub struct MemoryCredentials {
    held: Mutex<Option<Tokens>>,
    refused: Mutex<Option<u64>>,
    places: Mutex<HashMap<String, Arc<MemoryCredentials>>>,
}

impl MemoryCredentials {
    /// Holds `tokens`.
    pub fn new(tokens: Tokens) -> Self {
        Self { held: Mutex::new(Some(tokens)), ..Self::default() }
    }

    /// Holds nothing: for grants that need no sign-in by a person.
    pub fn empty() -> Self {
        Self::default()
    }
}

#[async_trait]
impl CredentialStore for MemoryCredentials {
    async fn load(&self) -> Result<Option<Tokens>> {
        Ok(self.held.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    async fn rotate(&self, tokens: &Tokens) -> Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let version = held.as_ref().map_or(0, |held| held.version);
        if tokens.version != version + 1 {
            let message = format!("the tokens of version {version} cannot become version {}", tokens.version);
            return Err(Error::new(ErrorKind::Retry, message));
        }
        *held = Some(tokens.clone());
        Ok(())
    }

    async fn refuse(&self, version: u64) -> Result<()> {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(version);
        Ok(())
    }

    async fn is_refused(&self, version: u64) -> Result<bool> {
        Ok(*self.refused.lock().unwrap_or_else(PoisonError::into_inner) == Some(version))
    }

    /// Nobody else: each owner of tokens in memory counts as a process.
    fn turn(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::default()
    }

    fn place(self: Arc<Self>, place: TokenPlace) -> Arc<dyn CredentialStore> {
        if place.inherits {
            return self;
        }
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(places.entry(place.name).or_default()) as Arc<dyn CredentialStore>
    }
}
