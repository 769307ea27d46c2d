//! Stores whose objects lie in a bucket of S3, or of a service like it: objects and master key are all of such a store. Its
//! tables are made from the objects whenever it is opened; to be read, in a directory that is gone afterwards.
//!
//! To be written to, the tables stay in the user's cache directory: they know the run that was interrupted, so that the
//! next one goes on. Where they are lost, or the bucket was written to from elsewhere, nothing stored is: they are made anew,
//! and only what no snapshot names yet is stored again.

use std::{path::Path, path::PathBuf, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use clap::Args;
use etcetera::{BaseStrategy, choose_base_strategy};
use listbackup_engine::{
    Error, ErrorKind, Result,
    adapters::embedded::{EmbeddedStores, SystemRandom, key_file, make_key_file},
    connectors::Problem,
    model::AccountId,
    ports::Blobs,
};
use url::Url;

use crate::{
    local, rebuilding,
    worker::{Worker, WorkerSettings},
};

/// How the address of a bucket begins.
const SCHEME: &str = "s3://";

/// What the address of a bucket may leave out. Credentials come by the SDK's own chain: environment, profile, web identity,
/// container, instance.
#[derive(Args, Clone, Debug, Default)]
pub struct AwsDefaults {
    /// The region of buckets
    #[arg(long, env = "AWS_REGION", hide = true)]
    aws_region: Option<String>,
    /// Where a service like S3 is
    #[arg(long, env = "AWS_ENDPOINT_URL", hide = true)]
    aws_endpoint_url: Option<String>,
}

/// A bucket as somebody named it, with its key: `s3://BUCKET/PREFIX?region=…&endpoint=…`.
#[derive(Clone, Copy, Debug)]
pub struct Bucket<'a> {
    /// The address.
    pub address: &'a str,
    /// The file with the master key.
    pub key_file: Option<&'a Path>,
    /// The option that names that file.
    pub key_option: &'static str,
    /// What the address may leave out.
    pub defaults: &'a AwsDefaults,
}

/// The parts of an address.
#[derive(Debug, Default, PartialEq, Eq)]
struct Address {
    bucket: String,
    prefix: String,
    region: Option<String>,
    endpoint_url: Option<String>,
}

/// What is behind an address.
struct Objects {
    blobs: Arc<dyn Blobs>,
    account_ids: Vec<AccountId>,
}

/// What somebody wants with a bucket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Read,
    Write,
}

/// The address of a bucket, where that is what a place is.
pub fn address_of(place: &Path) -> Option<&str> {
    place.to_str().filter(|text| text.starts_with(SCHEME))
}

impl Bucket<'_> {
    /// Opens the store to be read. Nothing in the bucket is changed.
    ///
    /// # Errors
    /// `Invalid` with every problem of address and key, or when the bucket is not there; `NotFound` when it holds no store;
    /// `Corrupt` when the key is another one; `Retry` when S3 cannot be reached.
    pub async fn open_to_read(&self) -> Result<Worker> {
        let (objects, key_path) = self.reach(Wish::Read).await?;
        if objects.account_ids.is_empty() {
            return Err(self.named(Error::new(ErrorKind::NotFound, "there is no store in the bucket (accounts/…)")));
        }
        let keys = key_file(key_path)?;
        let tables = tempfile::tempdir().map_err(Error::from)?;
        let stores = EmbeddedStores::open_over(tables.path(), objects.blobs, keys)?;
        let worker = Worker::over(stores, WorkerSettings::of_a_person())?.with_tables_in(tables);
        make_tables(&worker, &objects.account_ids).await.map_err(|error| self.named(error))?;
        Ok(worker)
    }

    /// Opens the store to copy something into it; without a store there, and without a file with its key, both are made.
    ///
    /// # Errors
    /// Those of [`Bucket::open_to_read`], but for a bucket without a store; `Conflict` when another process of this user
    /// writes there.
    pub async fn open_to_write(&self, settings: WorkerSettings) -> Result<Worker> {
        let (objects, key_path) = self.reach(Wish::Write).await?;
        let is_new = !key_path.exists();
        if is_new && !objects.account_ids.is_empty() {
            let message = "the bucket holds a store already, and the file with its master key is not there";
            return Err(self.named(Error::new(ErrorKind::Invalid, message).with("file", key_path.display())));
        }
        if is_new {
            make_key_file(key_path, &SystemRandom)?;
        }
        let dir = self.tables_dir()?;
        let worker = match self.over(&dir, &objects, key_path, settings.clone()).await? {
            Some(worker) => worker,
            None => {
                // These tables are of a store that is there no more.
                std::fs::remove_dir_all(&dir).map_err(|error| Error::from(error).with("path", dir.display()))?;
                let opened = self.over(&dir, &objects, key_path, settings).await?;
                opened.ok_or_else(|| Error::new(ErrorKind::Bug, "new tables know an account already"))?
            }
        };
        make_tables(&worker, &objects.account_ids).await.map_err(|error| self.named(error))?;
        Ok(worker)
    }

    /// Over tables that may be there already; `None` when they are of another store.
    async fn over(
        &self,
        dir: &Path,
        objects: &Objects,
        key_path: &Path,
        settings: WorkerSettings,
    ) -> Result<Option<Worker>> {
        let stores = EmbeddedStores::open_over(dir, objects.blobs.clone(), key_file(key_path)?)?;
        let worker = Worker::over(stores, settings)?;
        let known = local::scopes(&worker.ctx.ports, &worker.ctx.system).await?;
        let is_same = known.iter().all(|scope| objects.account_ids.contains(&scope.account_id()));
        Ok(is_same.then_some(worker))
    }

    /// Checks address and key, and finds out what is in the bucket.
    async fn reach(&self, wish: Wish) -> Result<(Objects, &Path)> {
        let (address, mut problems) = Address::parse(self.address, self.defaults);
        if self.key_file.is_none() {
            let message = match wish {
                Wish::Read => "must name the file with the store's master key",
                Wish::Write => "must name the file with the store's master key; it is made when there is none yet",
            };
            problems.push(Problem { place: self.key_option.to_owned(), message: message.to_owned() });
        }
        let client = connect::client(&address, &mut problems).await;
        let wrong = |problems| Error::invalid("the store in the bucket cannot be opened", problems);
        match (client, self.key_file) {
            (Some(client), Some(key_path)) if problems.is_empty() => {
                let objects = connect::objects(client, wish).await.map_err(|error| self.named(error))?;
                Ok((objects, key_path))
            }
            _ => Err(wrong(problems)),
        }
    }

    /// Where the tables of this store are kept between copies.
    fn tables_dir(&self) -> Result<PathBuf> {
        let base = choose_base_strategy().map_err(|_| {
            Error::new(ErrorKind::Invalid, "this system names no place for caches; set XDG_CACHE_HOME or HOME")
        })?;
        let (address, _) = Address::parse(self.address, self.defaults);
        let text = [address.endpoint_url.as_deref().unwrap_or_default(), &address.bucket, &address.prefix].join("\n");
        let name: String =
            digest(&SHA256, text.as_bytes()).as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Ok(base.cache_dir().join("listbackup").join("buckets").join(name))
    }

    fn named(&self, error: Error) -> Error {
        error.with("store", self.address)
    }
}

/// Makes the rows that the objects tell of.
async fn make_tables(worker: &Worker, account_ids: &[AccountId]) -> Result<()> {
    if account_ids.is_empty() {
        return Ok(());
    }
    let made = rebuilding::rebuild(&worker.ctx, account_ids).await?;
    for source in made.accounts.iter().flat_map(|account| &account.sources) {
        for damage in &source.survey.damages {
            tracing::warn!(source = %source.source_id, "damaged: {damage}");
        }
    }
    Ok(())
}

impl Address {
    /// The parts of an address, and every problem with it.
    fn parse(text: &str, defaults: &AwsDefaults) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut wrong = |place: &str, message: &str| {
            problems.push(Problem { place: place.to_owned(), message: message.to_owned() });
        };
        let mut address = Self {
            region: defaults.aws_region.clone(),
            endpoint_url: defaults.aws_endpoint_url.clone(),
            ..Self::default()
        };
        let Ok(url) = Url::parse(text) else {
            wrong(text, "is no address of a bucket: s3://BUCKET/PREFIX?region=…&endpoint=…");
            return (address, problems);
        };
        if !url.username().is_empty() || url.password().is_some() || url.port().is_some() || url.fragment().is_some() {
            wrong(
                "address",
                "must not hold a user, a password, a port or a fragment; credentials come from the environment",
            );
        }
        address.bucket = url.host_str().unwrap_or_default().to_owned();
        let path = url.path();
        path.strip_prefix('/').unwrap_or(path).trim_end_matches('/').clone_into(&mut address.prefix);
        for (name, value) in url.query_pairs() {
            match &*name {
                "region" => address.region = Some(value.into_owned()),
                "endpoint" => address.endpoint_url = Some(value.into_owned()),
                _ => wrong(&format!("?{name}"), "is not known; there are region and endpoint"),
            }
        }
        (address, problems)
    }
}

#[cfg(feature = "aws")]
mod connect {
    use listbackup_engine::adapters::aws::{AwsClients, AwsOptions, AwsSettings, S3Blobs};

    use super::{Address, Arc, Objects, Problem, Result, Wish};

    /// A client for the address, or further problems with it.
    pub(super) async fn client(address: &Address, problems: &mut Vec<Problem>) -> Option<S3Blobs> {
        let options = AwsOptions {
            // Names tables and queues, of which none is used.
            stage: "bucket".to_owned(),
            region: address.region.clone().unwrap_or_default(),
            bucket: address.bucket.clone(),
            prefix: address.prefix.clone(),
            endpoint_url: address.endpoint_url.clone(),
            ..AwsOptions::default()
        };
        match AwsSettings::new(options) {
            Ok(settings) => Some(S3Blobs::new(&AwsClients::new(&settings).await, &settings)),
            Err(error) => {
                problems.extend(error.problems().iter().map(told));
                None
            }
        }
    }

    /// The same problem in the words of an address.
    fn told(problem: &Problem) -> Problem {
        let (place, hint) = match problem.place.as_str() {
            "/region" => ("region", "; give it as ?region=… or AWS_REGION"),
            "/bucket" => ("bucket", ""),
            "/prefix" => ("prefix", ""),
            "/endpointUrl" => ("endpoint", "; give it as ?endpoint=… or AWS_ENDPOINT_URL"),
            other => (other, ""),
        };
        Problem { place: place.to_owned(), message: format!("{}{hint}", problem.message) }
    }

    pub(super) async fn objects(blobs: S3Blobs, wish: Wish) -> Result<Objects> {
        blobs.check_bucket().await?;
        let account_ids = blobs.accounts().await?;
        let blobs = if wish == Wish::Read { blobs.read_only() } else { blobs };
        Ok(Objects { blobs: Arc::new(blobs), account_ids })
    }
}

#[cfg(not(feature = "aws"))]
mod connect {
    use super::{Address, Error, ErrorKind, Objects, Problem, Result, Wish};

    pub(super) async fn client(_: &Address, problems: &mut Vec<Problem>) -> Option<()> {
        let message = "this program was built without the cargo feature `aws`, which buckets need";
        problems.push(Problem { place: "address".to_owned(), message: message.to_owned() });
        None
    }

    pub(super) async fn objects((): (), _: Wish) -> Result<Objects> {
        Err(Error::new(ErrorKind::Bug, "there is no client for buckets"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Address, Vec<String>) {
        let defaults = AwsDefaults { aws_region: Some("eu-central-1".to_owned()), aws_endpoint_url: None };
        let (address, problems) = Address::parse(text, &defaults);
        (address, problems.into_iter().map(|problem| problem.place).collect())
    }

    #[test]
    fn an_address_names_a_bucket_and_what_differs_from_the_environment() {
        let (address, problems) = parsed("s3://my-bucket/a/b/?endpoint=http://127.0.0.1:9000");
        let expected = Address {
            bucket: "my-bucket".to_owned(),
            prefix: "a/b".to_owned(),
            region: Some("eu-central-1".to_owned()),
            endpoint_url: Some("http://127.0.0.1:9000".to_owned()),
        };
        assert_eq!((address, problems.len()), (expected, 0));
        let (address, _) = parsed("s3://b?region=us-east-1");
        assert_eq!((&*address.prefix, address.region.as_deref()), ("", Some("us-east-1")));
    }

    #[test]
    fn what_an_address_must_not_hold_is_told_at_once() {
        let (_, problems) = parsed("s3://user:secret@bucket:9000/a?zone=1&size=2");
        assert_eq!(problems, ["address", "?zone", "?size"]);
    }
}
