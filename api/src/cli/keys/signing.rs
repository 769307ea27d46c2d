//! `listbackup keys rotate-signing`: another key for access tokens, before its time.

use serde_json::json;

use crate::{
    cli::{
        data_dir::DataDir,
        exit::{Done, Outcome},
        output,
    },
    worker::WorkerSettings,
};

/// Arguments of `keys rotate-signing`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup keys rotate-signing --data-dir ./data
A process that serves replaces the key by itself every 90 days; this is for a key that somebody may have read. Nobody has to sign in again.
The private part of the key before is deleted; its public part stays in /.well-known/jwks.json for a day, and the tokens that it signed hold
until they expire, 15 minutes at the longest.")]
pub struct Args {
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = args.data_dir.open_to_write(WorkerSettings::of_a_person())?;
    let rotation = worker.stores.rotate_signing_key().await?;
    if args.json {
        let until = rotation.retired.as_ref().map(|_| rotation.published_until);
        output::json(
            &json!({ "key_id": rotation.key_id, "retired_key_id": rotation.retired, "retired_published_until": until }),
        );
        return Ok(Done::Whole);
    }
    output::line(&format!("access tokens are signed by the key {}", rotation.key_id));
    if let Some(retired) = &rotation.retired {
        output::line(&format!("  the key before, {retired}, is published until {:.0}", rotation.published_until));
    }
    Ok(Done::Whole)
}
