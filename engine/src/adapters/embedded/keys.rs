//! The master key file, and the wrapping of data keys with it.
//!
//! A wrapped key is `version (1) | nonce (12) | sealed key (32) | tag (16)`, AES-256-GCM with the context as associated
//! data. Nonces are random: one master key may wrap 2^32 keys before a repeat becomes thinkable.

use std::{fs, io::ErrorKind as Io, path::Path, sync::Arc};

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use super::{OpenMode, blobs, database, files};
use crate::{
    error::{Error, ErrorKind, Result},
    ports::{DataKey, Keys, Random},
};

/// Its name in the data directory.
pub(super) const FILE_NAME: &str = "master.key";
/// A key that is about to be the directory's.
const DRAFT_NAME: &str = ".master.key.draft";
const KEY_BYTES: usize = 32;
const FORMAT: u8 = 1;

/// The key that wraps all others.
pub(super) struct MasterKey {
    key: RandomizedNonceKey,
    random: Arc<dyn Random>,
}

impl MasterKey {
    /// Reads the key of `data_dir`; a writer makes it in a new directory.
    ///
    /// # Errors
    /// `Invalid` when others can read it, `Corrupt` when it is damaged, or missing although there is data.
    pub(super) fn open(data_dir: &Path, mode: OpenMode, random: Arc<dyn Random>) -> Result<Self> {
        let path = data_dir.join(FILE_NAME);
        if mode == OpenMode::Write {
            // Of an interrupted change; this process holds the directory's lock.
            let _ = fs::remove_file(data_dir.join(DRAFT_NAME));
        }
        let bytes = match fs::read(&path) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == Io::NotFound => create(data_dir, mode, &*random)?,
            Err(error) => return Err(files::at(error, &path)),
        };
        check(&path, &bytes)?;
        Self::of(&bytes, random)
    }

    /// The key in a file anywhere, to read with.
    ///
    /// # Errors
    /// `Invalid` when it is not there or others can read it, `Corrupt` when it is damaged.
    pub(super) fn open_file(path: &Path, random: Arc<dyn Random>) -> Result<Self> {
        Self::of(&read(path)?, random)
    }

    /// The key of these bytes.
    pub(super) fn of(bytes: &[u8], random: Arc<dyn Random>) -> Result<Self> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, bytes).map_err(|_| unusable())?;
        Ok(Self { key, random })
    }
}

/// A new key, complete and durable before it has its name: a crash leaves no half of one.
fn create(data_dir: &Path, mode: OpenMode, random: &dyn Random) -> Result<Zeroizing<Vec<u8>>> {
    let path = data_dir.join(FILE_NAME);
    if mode == OpenMode::Read {
        return Err(Error::new(ErrorKind::NotFound, "there is no ListBackup data here").with("path", path.display()));
    }
    if data_dir.join(database::FILE_NAME).exists() || blobs::has_accounts(data_dir)? {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "the master key is missing although there is data, which cannot be read without it; put its copy back",
        )
        .with("path", path.display()));
    }
    let bytes = fresh(random);
    keep(data_dir, &bytes)?;
    Ok(bytes)
}

fn fresh(random: &dyn Random) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; KEY_BYTES]);
    random.fill(&mut bytes);
    bytes
}

/// Makes a key in a file anywhere, durable and closed to other users.
///
/// # Errors
/// `Conflict` when there is a file; `Invalid`, `Exhausted` when it cannot be written.
pub fn make_key_file(file: &Path, random: &dyn Random) -> Result<()> {
    files::write_new(file, &fresh(random))?;
    files::sync_dir(files::parent_of(file))
}

/// Takes a copy of a key file into a directory that has none.
pub(super) fn adopt(data_dir: &Path, key_file: &Path) -> Result<()> {
    let bytes = read(key_file)?;
    let path = data_dir.join(FILE_NAME);
    match fs::read(&path) {
        Ok(own) if own == **bytes => Ok(()),
        Ok(_) => {
            Err(Error::new(ErrorKind::Conflict, "the directory has another master key; use that, or move it away")
                .with("path", path.display()))
        }
        Err(error) if error.kind() == Io::NotFound => keep(data_dir, &bytes),
        Err(error) => Err(files::at(error, &path)),
    }
}

/// Makes these bytes the directory's key, by one rename.
pub(super) fn keep(data_dir: &Path, bytes: &[u8]) -> Result<()> {
    let path = data_dir.join(FILE_NAME);
    let draft = data_dir.join(DRAFT_NAME);
    // One of an interrupted start; this process holds the directory's lock.
    let _ = fs::remove_file(&draft);
    files::write_new(&draft, bytes)?;
    fs::rename(&draft, &path).map_err(|error| files::at(error, &path))?;
    files::sync_dir(data_dir)
}

/// The key in a file that only its owner can read.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let bytes = Zeroizing::new(fs::read(path).map_err(|error| files::at(error, path))?);
    check(path, &bytes)?;
    Ok(bytes)
}

fn check(path: &Path, bytes: &[u8]) -> Result<()> {
    files::refuse_open_to_others(path, "600")?;
    if bytes.len() != KEY_BYTES {
        return Err(Error::new(
            ErrorKind::Corrupt,
            format!("the master key must be {KEY_BYTES} bytes; put its copy back"),
        )
        .with("path", path.display())
        .with("size in bytes", bytes.len()));
    }
    Ok(())
}

#[async_trait]
impl Keys for MasterKey {
    async fn generate(&self, context: &str) -> Result<DataKey> {
        let mut plain = Zeroizing::new([0; KEY_BYTES]);
        self.random.fill(&mut *plain);
        let wrapped = self.wrap(context, &plain).await?;
        Ok(DataKey { plain, wrapped })
    }

    async fn wrap(&self, context: &str, plain: &[u8; KEY_BYTES]) -> Result<Vec<u8>> {
        // Room for the tag from the start: a vector that grows leaves a copy of the key behind.
        let mut sealed = Vec::with_capacity(KEY_BYTES + AES_256_GCM.tag_len());
        sealed.extend_from_slice(plain);
        let nonce =
            self.key.seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut sealed).map_err(|_| unusable())?;
        Ok([&[FORMAT], nonce.as_ref().as_slice(), &sealed].concat())
    }

    async fn unwrap(&self, context: &str, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        let refused = || {
            Error::new(
                ErrorKind::Corrupt,
                "a wrapped key was altered, belongs elsewhere, or was wrapped with another master key",
            )
            .with("context", context)
        };
        let (format, rest) = wrapped.split_first().ok_or_else(refused)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN).ok_or_else(refused)?;
        if *format != FORMAT {
            return Err(refused());
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let plain = self.key.open_in_place(nonce, Aad::from(context.as_bytes()), &mut opened).map_err(|_| refused())?;
        let plain: [u8; KEY_BYTES] = (&*plain).try_into().map_err(|_| refused())?;
        Ok(Zeroizing::new(plain))
    }
}

fn unusable() -> Error {
    Error::new(ErrorKind::Bug, "the cryptographic library refused to work")
}
