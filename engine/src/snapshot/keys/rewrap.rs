//! The same data keys under another master key: what is stored under them stays as it is.
//!
//! 1. Each key is stored once more, wrapped by the new master key, read back and compared: now either master key opens all.
//! 2. The caller changes the master key.
//! 3. The forms that the new one does not open are deleted, after it was seen to open one of each.
//!
//! Each step may be cut off and done again. Nobody else may make or delete keys of the account meanwhile, which the one writer of
//! a data directory is sure of.

use bytes::Bytes;

use super::{
    StoredKeys, altered,
    stored::{open_any, open_form, wrapped_anew},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::scope::AccountScope,
    ports::{Keys, PutOutcome},
    snapshot::{paths, store::SnapshotStore},
};

impl SnapshotStore {
    /// Stores every data key of an account under the master key `new` too, where that does not open it yet. Returns how many
    /// were stored; each was read back, and is durable.
    ///
    /// # Errors
    /// `Corrupt` when neither this store's master key nor `new` opens one; those of the ports.
    pub async fn wrap_keys_anew(&self, scope: &AccountScope, new: &dyn Keys) -> Result<usize> {
        let blobs = &**self.blobs();
        let stored = StoredKeys::look(blobs, scope).await?;
        let mut wrapped = 0;
        for epoch in &stored.epochs {
            if open_any(blobs, new, scope, *epoch).await.is_ok() {
                continue;
            }
            let opened = open_any(blobs, self.master(), scope, *epoch).await?;
            let object = Bytes::from(wrapped_anew(new, scope, *epoch, &opened).await?);
            let form = stored.forms_of(*epoch).next().unwrap_or_default() + 1;
            let path = paths::key_form(scope.account_id(), *epoch, form);
            if blobs.put_if_absent(scope, &path, object).await? == PutOutcome::Exists {
                let message = "somebody else changes the account's keys at the same time; run this alone";
                return Err(Error::new(ErrorKind::Conflict, message).with("path", path));
            }
            if !open_form(blobs, new, scope, (*epoch, form)).await?.is_like(&opened) {
                return Err(altered("a data key that was wrapped anew is another one").with("path", path));
            }
            wrapped += 1;
        }
        Ok(wrapped)
    }

    /// Deletes the forms of an account's data keys that this store's master key does not open, once it has opened a form of every
    /// one; of several that it opens the newest stays. Returns how many were deleted.
    ///
    /// # Errors
    /// `Corrupt`, and nothing is deleted, when it does not open every key; those of the ports.
    pub async fn remove_other_key_forms(&self, scope: &AccountScope) -> Result<usize> {
        let blobs = &**self.blobs();
        let stored = StoredKeys::look(blobs, scope).await?;
        let mut others = Vec::new();
        for epoch in &stored.epochs {
            let mut kept = None;
            let mut error = altered("the account's data key is missing");
            for form in stored.forms_of(*epoch) {
                match (kept, open_form(blobs, self.master(), scope, (*epoch, form)).await) {
                    (None, Ok(_)) => kept = Some(form),
                    (Some(_), _) => others.push((*epoch, form)),
                    (None, Err(failed)) if failed.kind() == ErrorKind::Corrupt => {
                        others.push((*epoch, form));
                        error = failed;
                    }
                    (None, Err(failed)) => return Err(failed),
                }
            }
            if kept.is_none() {
                return Err(error);
            }
        }
        for (epoch, form) in &others {
            blobs.delete(scope, &paths::key_form(scope.account_id(), *epoch, *form)).await?;
        }
        Ok(others.len())
    }
}
