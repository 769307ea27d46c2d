//! Objects and keys by themselves: what `cat` and `drill --check` need of a store, without a database and without a lock.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use listbackup_engine::{
    Error, ErrorKind, Result,
    adapters::embedded::{LooseObjects, key_file},
    model::{
        AccountId,
        scope::{AccountScope, SystemScope},
    },
    ports::Blobs,
    snapshot::{ObjectKind, SnapshotStore, StoreSettings, paths},
};

/// Bytes of each end of an object that tell what it is.
const END_BYTES: u64 = 64;

/// An object as a file, and the store that it is read through.
pub struct LooseObject {
    /// Its path in the bucket.
    pub path: String,
    /// What it is.
    pub kind: ObjectKind,
    /// Its account.
    pub scope: AccountScope,
    /// The store.
    pub snapshots: SnapshotStore,
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// Which object, and the keys for it.
pub struct Wanted<'a> {
    /// The file.
    pub file: &'a Path,
    /// Its path in the bucket, where the file's own path does not end with it.
    pub path: Option<&'a str>,
    /// The master key.
    pub key_file: &'a Path,
    /// The wrapped data key, where it does not lie beside the object.
    pub data_key: Option<&'a Path>,
}

impl Wanted<'_> {
    /// Opens it.
    ///
    /// # Errors
    /// `Invalid` when the file cannot be read or nothing tells its place in the bucket; `NotFound` without data key; `Corrupt`
    /// when it is no object.
    pub async fn open(&self) -> Result<LooseObject> {
        let named = |error: Error| error.with("file", self.file.display());
        let (kind, size_bytes) = look(self.file).map_err(named)?;
        let place = place_of(self.file);
        let path = match (self.path, &place) {
            (Some(path), _) => path.to_owned(),
            (None, Some((_, path))) => path.clone(),
            (None, None) => {
                let message = "the file's path does not say which object it is; give its path in the bucket: \
                               --path accounts/acc_…/sources/src_…/segments/….seg";
                return Err(named(Error::new(ErrorKind::Invalid, message)));
            }
        };
        let account_id = account_of(&path).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "an object's path begins with accounts/acc_…/").with("path", &path)
        })?;
        let mut objects = LooseObjects::below(place.map(|(root, _)| root)).with(path.clone(), self.file.to_owned());
        if let (Some(data_key), ObjectKind::Segment { epoch } | ObjectKind::Document { epoch }) = (self.data_key, kind)
        {
            objects = objects.with(paths::key(account_id, epoch), data_key.to_owned());
        }
        let scope = SystemScope::of_this_process().account(account_id);
        let snapshots = store(objects, self.key_file, &scope).await?;
        Ok(LooseObject { path, kind, scope, snapshots, size_bytes })
    }
}

/// A store that reads these objects of an account with the master key in a file.
///
/// # Errors
/// `NotFound` without data key; those of the key file.
pub async fn store(objects: LooseObjects, master_key: &Path, scope: &AccountScope) -> Result<SnapshotStore> {
    let keys = key_file(master_key)?;
    let prefix = paths::keys(scope.account_id());
    if objects.list(scope, &prefix, None, 1).await?.is_empty() {
        let message = "there is no data key of the account beside the objects; put it there, or give the file";
        return Err(Error::new(ErrorKind::NotFound, message).with("path", prefix));
    }
    Ok(SnapshotStore::new(Arc::new(objects), keys, StoreSettings::default()))
}

/// The account that an object's path names.
fn account_of(path: &str) -> Option<AccountId> {
    path.strip_prefix("accounts/")?.split('/').next()?.parse().ok()
}

/// Where the bucket begins in a file's path, and the object's path in it.
fn place_of(file: &Path) -> Option<(PathBuf, String)> {
    let file = std::path::absolute(file).ok()?;
    file.ancestors().skip(1).find_map(|root| {
        let path = file.strip_prefix(root).ok()?.to_str()?;
        account_of(path).map(|_| (root.to_owned(), path.to_owned()))
    })
}

fn look(file: &Path) -> Result<(ObjectKind, u64)> {
    let ends = || -> std::io::Result<(Vec<u8>, Vec<u8>, u64)> {
        let mut file = File::open(file)?;
        let size_bytes = file.metadata()?.len();
        let (mut head, mut tail) = (Vec::new(), Vec::new());
        Read::by_ref(&mut file).take(END_BYTES).read_to_end(&mut head)?;
        file.seek(SeekFrom::Start(size_bytes.saturating_sub(END_BYTES)))?;
        file.take(END_BYTES).read_to_end(&mut tail)?;
        Ok((head, tail, size_bytes))
    };
    let (head, tail, size_bytes) =
        ends().map_err(|error| Error::new(ErrorKind::Invalid, format!("the file cannot be read: {error}")))?;
    let kind = ObjectKind::of(&head, &tail)
        .ok_or_else(|| Error::new(ErrorKind::Corrupt, "this is no object of a known version, or it is cut short"))?;
    Ok((kind, size_bytes))
}
