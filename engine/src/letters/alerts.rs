//! Letters to those who want to know when backups are not as they should be.

use jiff::Timestamp;
use url::Url;

use super::{draft::Draft, words};
use crate::ports::Letter;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlertKind {
    /// A run ended without a snapshot.
    RunFailed,
    /// A run's snapshot lacks a part.
    RunPartial,
    /// A run found much less, or much else, than before.
    RunSuspicious,
    /// A source has had no good backup for too long.
    SourceStale,
    /// A product does not let us in any more.
    AuthorisationLost,
}

/// An alert.
#[derive(Clone, Copy, Debug)]
pub struct Alert<'a> {
    /// What happened.
    pub kind: AlertKind,
    /// Name of the account.
    pub account: &'a str,
    /// Name of the source.
    pub source: &'a str,
    /// Name of the job, if one is concerned.
    pub job: Option<&'a str>,
    /// When.
    pub at: Timestamp,
    /// Why, as far as it is known.
    pub reason: &'a str,
    /// As many came before of which no letter told.
    pub earlier: u32,
    /// Where to look.
    pub link: Option<&'a Url>,
}

/// To who wants to know.
pub fn alert(to: &str, facts: &Alert<'_>) -> Letter {
    let source = words::name(facts.source);
    let (subject, what, remedy, label) = words_of(facts.kind, &source);
    Draft::new(to, &subject)
        .say(what)
        .facts([
            ("Account", words::name(facts.account)),
            ("Source", source),
            ("Job", facts.job.map(words::name).unwrap_or_default()),
            ("Time", words::time(facts.at)),
            ("Reason", words::reason(facts.reason)),
            ("More of these since the last letter", more(facts.earlier)),
        ])
        .say(remedy)
        .link(label, facts.link)
        .say("Owners and administrators of the account get these letters; each can turn them off in their own profile.")
        .write()
}

fn more(earlier: u32) -> String {
    if earlier == 0 { String::new() } else { earlier.to_string() }
}

/// Subject, what happened, what to do, and what its link is called.
fn words_of(kind: AlertKind, source: &str) -> (String, &'static str, &'static str, &'static str) {
    match kind {
        AlertKind::RunFailed => (
            format!("The backup of {source} failed"),
            "A backup ended without a snapshot. Earlier snapshots are untouched.",
            "The next run tries again by itself; if the reason stays, it needs somebody to look at it.",
            "Look at the run",
        ),
        AlertKind::RunPartial => (
            format!("The backup of {source} is not complete"),
            "A backup was made, but a part of the source could not be read. What was read is kept; what is missing is as it was in \
             the snapshot before.",
            "The next run tries the rest again.",
            "Look at the run",
        ),
        AlertKind::RunSuspicious => (
            format!("The backup of {source} looks unlike the ones before"),
            "The source had much less, or much else, than before. The snapshot is kept, and so are those before it.",
            "If nobody meant this change, restore from an earlier snapshot.",
            "Compare the snapshots",
        ),
        AlertKind::SourceStale => (
            format!("{source} has had no good backup for too long"),
            "The newest good snapshot of this source is older than you said that it may be.",
            "Look whether its job is paused, or its runs fail.",
            "Look at the source",
        ),
        AlertKind::AuthorisationLost => (
            format!("{source} has to be connected again"),
            "The product does not accept our access any more. Backups of this source wait until somebody signs in to it again; what is \
             kept already is untouched.",
            "Connect the source again with an account of the product that may read everything that you want kept.",
            "Connect again",
        ),
    }
}
