//! `listbackup restore`: a snapshot back into its product, or out to files, another data directory or a bucket.

mod copy;
mod files;
mod product;
mod report;

use std::path::PathBuf;

use clap::{ArgGroup, ValueEnum};
use listbackup_engine::{Result, run::restore::Against, snapshot::Manifest};

use super::{data_dir::DataPlace, exit::Outcome};
use crate::lookup;

/// Arguments of `restore`.
#[derive(clap::Args)]
#[command(mut_arg("key_file", |key| key.requires("out").help("The master key of the bucket, with --to or --to-store")))]
#[command(group = ArgGroup::new("out").args(["to", "to_store"]))]
#[command(group = ArgGroup::new("which").required(true).args(["snapshot", "resume"]), after_help = "\
Examples: listbackup restore --snapshot snap_…                     what would be written to the product
          listbackup restore --snapshot snap_… --apply             write it
          listbackup restore --snapshot snap_… --stream contacts --key 17 --apply
          listbackup restore --snapshot snap_… --into other        the plan for another source's product
          listbackup restore --resume rst_…                        go on after an interruption
          listbackup restore --snapshot snap_… --to ./out          files: JSONL, and a manifest with digests
          listbackup restore --snapshot snap_… --to-store ./other  a snapshot in another data directory
          listbackup restore --snapshot snap_… --to-store s3://bucket/crm --to-key-file crm.key    or in a bucket
Records that are gone from the product are made again, under keys that the product chooses; references to them follow. Records
that differ are changed back. Nothing is deleted. What was changed in the product after the last backup is a conflict and
left alone, unless --overwrite is given. The same restore never makes a record twice, however often it is interrupted.
A bucket is s3://BUCKET/PREFIX?region=…&endpoint=…; region and endpoint may come by AWS_REGION and AWS_ENDPOINT_URL, credentials come as
for every program of AWS. Bucket and key file are all that is needed to read the copy: --data-dir s3://… --key-file FILE.")]
pub struct Args {
    /// The snapshot
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// Go on with a restore that was interrupted or failed
    #[arg(long, value_name = "RESTORE_ID", conflicts_with_all = ["stream", "key", "from", "until", "against", "overwrite"])]
    resume: Option<String>,
    /// Only this stream; repeat for more [default: all that the connector can write]
    #[arg(long, value_name = "NAME")]
    stream: Vec<String>,
    /// Only the record with this key; repeat for more. Needs one --stream
    #[arg(long, value_name = "KEY", conflicts_with_all = ["from", "until"])]
    key: Vec<String>,
    /// Only records from this key on. Needs one --stream
    #[arg(long, value_name = "KEY")]
    from: Option<String>,
    /// Only records below this key. Needs one --stream
    #[arg(long, value_name = "KEY")]
    until: Option<String>,
    /// Write the streams as JSONL files into a new folder, instead of restoring into the product
    #[arg(long, value_name = "DIR", conflicts_with_all = ["resume", "key", "from", "until", "apply", "overwrite", "outcomes"])]
    to: Option<PathBuf>,
    /// Copy the snapshot into another data directory or a bucket (s3://…), sealed under its own keys, instead of restoring
    /// into the product
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["resume", "key", "from", "until", "apply", "overwrite", "outcomes", "to"])]
    to_store: Option<PathBuf>,
    /// The master key of the bucket that is copied into; made when neither it nor a store in the bucket is there
    #[arg(long, value_name = "FILE", requires = "to_store")]
    to_key_file: Option<PathBuf>,
    /// Restore into the product of another source of the account, by name or id, that is connected to the same integration
    #[arg(long, value_name = "SOURCE", conflicts_with_all = ["resume", "to", "to_store"])]
    into: Option<String>,
    /// What the snapshot is compared with: the product as it is now, or its newest snapshot
    #[arg(long, value_enum, default_value_t = AgainstName::Product)]
    against: AgainstName,
    /// Also change back what was changed in the product after the last backup
    #[arg(long)]
    overwrite: bool,
    /// Write to the product; without it, only the plan is shown
    #[arg(long, visible_alias = "yes")]
    apply: bool,
    /// Write every outcome to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    outcomes: Option<PathBuf>,
    #[command(flatten)]
    data_dir: DataPlace,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub json: bool,
}

/// What a snapshot is compared with.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum AgainstName {
    /// A fresh read of the product
    Product,
    /// The source's newest snapshot
    Head,
}

impl From<AgainstName> for Against {
    fn from(name: AgainstName) -> Self {
        match name {
            AgainstName::Product => Self::Product,
            AgainstName::Head => Self::Head,
        }
    }
}

/// The streams of a snapshot that were named, or all.
///
/// # Errors
/// `Invalid` for one that the snapshot does not have.
fn chosen(args: &Args, manifest: &Manifest) -> Result<Vec<String>> {
    for stream in &args.stream {
        lookup::stream(manifest, stream)?;
    }
    let all = || manifest.streams.keys().cloned().collect();
    Ok(if args.stream.is_empty() { all() } else { args.stream.clone() })
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    match (&args.to, &args.to_store) {
        (Some(folder), _) => files::run(&args, folder).await,
        (None, Some(place)) => copy::run(&args, place).await,
        (None, None) => product::run(args).await,
    }
}
