//! The command line: one file a command, all of them on this screen.

mod activity;
mod amounts;
mod backup;
mod backup_report;
mod cat;
mod collect;
mod connector;
mod data_dir;
mod dead_letters;
mod destroyed;
mod diff;
mod download;
mod drill;
mod exit;
mod export;
mod files;
mod forget;
mod history;
mod import;
mod keys;
mod loose;
mod marks;
mod output;
mod product;
mod progress;
mod rebuild;
mod records;
mod restore;
mod roles;
mod sandbox;
mod search;
mod settings;
mod snapshots;
mod status;
mod tables;
mod up;
mod verify;
mod verify_report;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::worker;

/// Keeps safe what a business holds in SaaS products: verified, encrypted snapshots of every record.
#[derive(Parser)]
#[command(name = "listbackup", version, propagate_version = true, after_help = exit::HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Back one source up, now, into the data directory.
    Backup(backup::Args),
    /// Make a snapshot of an export: a file with one JSON object a line.
    Import(import::Args),
    /// List the snapshots in the data directory.
    Snapshots(snapshots::Args),
    /// Look at the records of a snapshot.
    Records(records::Args),
    /// Compare two snapshots: what came, changed and went.
    Diff(diff::Args),
    /// Follow one record over the snapshots: when it came, changed and went.
    History(history::Args),
    /// Find the records of a snapshot that hold a text.
    Search(search::Args),
    /// Write a stream of a snapshot to a file.
    Export(export::Args),
    /// Bring records of a snapshot back, into the product that they came from.
    Restore(restore::Args),
    /// List the files of a snapshot: the attachments of its records.
    Files(files::Args),
    /// Write an attachment of a snapshot to a file.
    Download(download::Args),
    /// Check that every snapshot is whole.
    Verify(verify::Args),
    /// Restore from the snapshots for trial, and tell how it went in a signed report.
    Drill(drill::Args),
    /// Print what one stored object holds, without database or lock.
    Cat(cat::Args),
    /// Make a lost database anew from the stored snapshots.
    Rebuild(rebuild::Args),
    /// Let go of snapshots, by rules or one by one.
    Forget(forget::Args),
    /// Delete stored data that no snapshot refers to any more.
    Collect(collect::Args),
    /// Keep a snapshot whatever the rules say.
    Pin(marks::PinArgs),
    /// Take the pins of a snapshot away.
    Unpin(marks::UndoArgs),
    /// Put a snapshot under a legal hold.
    Hold(marks::HoldArgs),
    /// Lift the legal holds of a snapshot.
    Release(marks::UndoArgs),
    /// List, rotate or destroy the data keys of an account.
    Keys(keys::Args),
    /// List messages that were given up, or give them another try.
    DeadLetters(dead_letters::Args),
    /// Tell how fresh and how complete the backups of each source are.
    Status(status::Args),
    /// Check the log of what happened.
    Activity(activity::Args),
    /// Run everything in one process on this machine: API, worker, scheduler, indexer.
    Up(up::Args),
    /// Serve the API, or some of its services: one role of a fleet, configured by its environment.
    Serve(roles::ServeArgs),
    /// Carry out runs: one role of a fleet.
    Worker(roles::RoleArgs),
    /// Fire due jobs, watch over sources, relay events: one role of a fleet.
    Scheduler(roles::RoleArgs),
    /// Index new snapshots: one role of a fleet.
    Indexer(roles::RoleArgs),
    /// All roles in one process, configured by its environment.
    All(roles::RoleArgs),
    /// Serve a small make-believe SaaS product to try things on.
    Sandbox(sandbox::Args),
    /// Try a connector: check, discover, read.
    Connector(connector::Args),
    /// Print the schema of the tables.
    Tables(tables::Args),
}

impl Command {
    fn wants_json(&self) -> bool {
        match self {
            Self::Backup(args) => args.json,
            Self::Import(args) => args.json,
            Self::Snapshots(args) => args.json,
            Self::Records(args) => args.json,
            Self::Diff(args) => args.json,
            Self::History(args) => args.json,
            Self::Search(args) => args.json,
            Self::Export(args) => args.json,
            Self::Restore(args) => args.json,
            Self::Files(args) => args.json,
            Self::Download(args) => args.json,
            Self::Verify(args) => args.json,
            Self::Drill(args) => args.json,
            Self::Rebuild(args) => args.json,
            Self::Tables(args) => args.json,
            Self::Forget(args) => args.json,
            Self::Collect(args) => args.json,
            Self::Pin(args) => args.mark.json,
            Self::Hold(args) => args.mark.json,
            Self::Unpin(args) | Self::Release(args) => args.json,
            Self::Keys(args) => args.wants_json(),
            Self::DeadLetters(args) => args.wants_json(),
            Self::Activity(args) => args.wants_json(),
            Self::Status(args) => args.json,
            Self::Connector(args) => args.wants_json(),
            Self::Sandbox(_) | Self::Cat(_) => false,
            Self::Up(_) | Self::Serve(_) | Self::Worker(_) | Self::Scheduler(_) | Self::Indexer(_) | Self::All(_) => {
                false
            }
        }
    }

    /// What the log shows unless `LISTBACKUP_LOG` says otherwise.
    fn default_log(&self) -> &'static str {
        match self {
            Self::Up(_) | Self::Serve(_) | Self::Worker(_) | Self::Scheduler(_) | Self::Indexer(_) | Self::All(_) => {
                "info,actix_server=warn"
            }
            _ => "error",
        }
    }

    async fn run(self) -> exit::Outcome {
        match self {
            Self::Backup(args) => backup::run(args).await,
            Self::Import(args) => import::run(args).await,
            Self::Snapshots(args) => snapshots::run(args).await,
            Self::Records(args) => records::run(args).await,
            Self::Diff(args) => diff::run(args).await,
            Self::History(args) => history::run(args).await,
            Self::Search(args) => search::run(args).await,
            Self::Export(args) => export::run(args).await,
            Self::Restore(args) => Box::pin(restore::run(args)).await,
            Self::Files(args) => files::run(args).await,
            Self::Download(args) => download::run(args).await,
            Self::Verify(args) => verify::run(args).await,
            Self::Drill(args) => drill::run(args).await,
            Self::Cat(args) => cat::run(args).await,
            Self::Rebuild(args) => rebuild::run(args).await,
            Self::Forget(args) => forget::run(args).await,
            Self::Collect(args) => collect::run(args).await,
            Self::Pin(args) => marks::pin(args).await,
            Self::Unpin(args) => marks::unpin(args).await,
            Self::Hold(args) => marks::hold(args).await,
            Self::Release(args) => marks::release(args).await,
            Self::Keys(args) => keys::run(args).await,
            Self::DeadLetters(args) => dead_letters::run(args).await,
            Self::Activity(args) => activity::run(args).await,
            Self::Status(args) => status::run(args).await,
            Self::Up(args) => up::run(args).await,
            Self::Serve(args) => roles::serve(args).await,
            Self::Worker(_) => roles::worker().await,
            Self::Scheduler(_) => roles::scheduler().await,
            Self::Indexer(_) => roles::indexer().await,
            Self::All(_) => roles::all().await,
            Self::Sandbox(args) => sandbox::run(args).await,
            Self::Connector(args) => connector::run(args).await,
            Self::Tables(args) => tables::run(&args),
        }
    }
}

/// Parses the arguments, runs the command, turns its outcome into an exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let wants_json = cli.command.wants_json();
    worker::start_log(cli.command.default_log());
    match worker::system() {
        Ok(system) => exit::report(system.block_on(cli.command.run()), wants_json),
        Err(error) => exit::report(Err(error), wants_json),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_of_every_command_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_key_file_is_offered_only_by_commands_that_take_one() {
        let mut offering = BTreeSet::new();
        let mut waiting = vec![(String::new(), Cli::command())];
        while let Some((name, command)) = waiting.pop() {
            if command.get_arguments().any(|argument| argument.get_long() == Some("key-file")) {
                offering.insert(name.clone());
            }
            let inner =
                |inner: &clap::Command| (format!("{name} {}", inner.get_name()).trim().to_owned(), inner.clone());
            waiting.extend(command.get_subcommands().map(inner));
        }
        let takes_one = "cat,collect,diff,download,drill,export,files,forget,history,keys list,rebuild,records,restore,search,\
                         snapshots,verify";
        assert_eq!(offering.into_iter().collect::<Vec<_>>().join(","), takes_one);
    }

    #[test]
    fn a_key_file_is_refused_where_a_command_would_write_to_the_directory() {
        let parses = |line: &str| {
            let words = format!("listbackup {line} --key-file k --data-dir s3://crm");
            Cli::try_parse_from(words.split(' ')).map(|_| ()).map_err(|error| error.to_string())
        };
        let (forget, restore) = ("forget --source shop", "restore --snapshot snap_1");
        let by_public_key = format!("drill --check r --public-key {}", "1f".repeat(32));
        for line in ["collect", forget, restore, "verify --data --resume", "drill", &by_public_key, "up"] {
            assert!(parses(line).unwrap_err().contains("--key-file"), "{line}");
        }
        for line in ["collect", forget] {
            assert_eq!(parses(&format!("{line} --dry-run")), Ok(()));
        }
        for line in ["--to out", "--to-store other"] {
            assert_eq!(parses(&format!("{restore} {line}")), Ok(()));
        }
        assert_eq!(parses("verify --data"), Ok(()));
        assert_eq!(parses("drill --check r"), Ok(()));
    }
}
