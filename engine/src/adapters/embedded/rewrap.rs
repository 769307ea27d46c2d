//! Another master key for a data directory. What it wraps is wrapped by both for a while: between any two steps the directory opens
//! with the key that is its `master.key` at that moment, and each step may be done again.

use std::{collections::BTreeSet, fs, io::ErrorKind as Io, path::Path, sync::Arc};

use zeroize::Zeroizing;

use super::{
    EmbeddedStores, SystemRandom, blobs, files, identity,
    keys::{self, MasterKey},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::AccountId,
    ports::Keys,
};

/// A master key in a file of its own, to become that of a directory.
pub struct NewMasterKey {
    bytes: Zeroizing<Vec<u8>>,
    key: Arc<MasterKey>,
    is_made: bool,
}

impl NewMasterKey {
    /// The key in `file`, which is made, closed to other users, when it is not there.
    ///
    /// # Errors
    /// `Invalid` when others can read it or it cannot be made; `Corrupt` when it is no master key.
    pub fn at(file: &Path) -> Result<Self> {
        let random = Arc::new(SystemRandom);
        let is_made = match fs::symlink_metadata(file) {
            Ok(_) => false,
            Err(error) if error.kind() == Io::NotFound => {
                keys::make_key_file(file, &*random)?;
                true
            }
            Err(error) => return Err(files::at(error, file)),
        };
        let bytes = keys::read(file)?;
        let key = Arc::new(MasterKey::of(&bytes, random)?);
        Ok(Self { bytes, key, is_made })
    }

    /// Wraps with it.
    pub fn keys(&self) -> Arc<dyn Keys> {
        self.key.clone()
    }

    /// True when it is a new one.
    pub fn is_made(&self) -> bool {
        self.is_made
    }
}

impl EmbeddedStores {
    /// True when the directory's master key is this one.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn has_master_key(&self, key: &NewMasterKey) -> Result<bool> {
        Ok(*keys::read(&self.data_dir.join(keys::FILE_NAME))? == *key.bytes)
    }

    /// Every account that has anything which the master key wraps.
    ///
    /// # Errors
    /// Those of reading the directory.
    pub async fn accounts_with_keys(&self) -> Result<BTreeSet<AccountId>> {
        let mut accounts: BTreeSet<AccountId> = blobs::accounts(&self.data_dir)?.into_iter().collect();
        let with_credentials = self.database.read(super::tables::accounts_with_keys).await?;
        accounts.extend(with_credentials);
        Ok(accounts)
    }

    /// Wraps the directory's own secrets, the keys that sign access tokens and those of authenticator apps, by `new` too. Returns how many needed it.
    ///
    /// # Errors
    /// `Corrupt` when neither master key opens one; those of the database.
    pub async fn wrap_secrets_anew(&self, new: &dyn Keys) -> Result<usize> {
        identity::wrap_secrets_anew(&self.database, &*self.ports.keys, new).await
    }

    /// Makes `new` the directory's master key, by one rename. Everything must be wrapped by it.
    ///
    /// # Errors
    /// `Exhausted`, `Invalid` when the file cannot be written; the old key is in its place then.
    pub fn take_master_key(&self, new: &NewMasterKey) -> Result<()> {
        keys::keep(&self.data_dir, &new.bytes)
    }

    /// Deletes forms of the directory's own secrets that its master key does not open, and the sign-ins under way, which are sealed
    /// as well: people begin them again. Returns of how many secrets.
    ///
    /// # Errors
    /// `Corrupt` when it does not open one; those of the database.
    pub async fn remove_other_forms_of_secrets(&self) -> Result<usize> {
        let removed = identity::remove_other_forms(&self.database, &*self.ports.keys).await?;
        self.database.write(super::tables::remove_sign_ins).await?;
        Ok(removed)
    }

    /// Writes the database anew, so that nothing that was overwritten or deleted is left in its free pages and its log.
    ///
    /// # Errors
    /// `Exhausted` without space for a copy; `Retry` while another process reads.
    pub async fn scrub_database(&self) -> Result<()> {
        let database = self.database.clone();
        tokio::task::spawn_blocking(move || database.scrub())
            .await
            .unwrap_or_else(|error| Err(Error::new(ErrorKind::Cancelled, "scrubbing was stopped").caused_by(error)))
    }
}
