//! The port for wrapping data keys.

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::error::Result;

/// A key of 32 bytes that seals data, in clear and wrapped.
pub struct DataKey {
    /// In clear; wiped on drop.
    pub plain: Zeroizing<[u8; 32]>,
    /// Wrapped by the master key, bound to its context.
    pub wrapped: Vec<u8>,
}

/// Wraps data keys (KMS, or the master key file).
#[async_trait]
pub trait Keys: Send + Sync {
    /// A new key, bound to `context` (such as `account=acc_…;epoch=1`).
    async fn generate(&self, context: &str) -> Result<DataKey>;

    /// Wraps a key that exists already, bound to `context`: so that another master key opens it too.
    async fn wrap(&self, context: &str, plain: &[u8; 32]) -> Result<Vec<u8>>;

    /// Opens a wrapped key.
    ///
    /// # Errors
    /// `Corrupt` when the bytes were altered or the context is another one.
    async fn unwrap(&self, context: &str, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>>;
}
