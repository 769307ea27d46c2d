//! How `listbackup verify` tells what it found.

use listbackup_engine::snapshot::{Damage, VerifyReport};
use serde_json::{Value, json};

use super::output;

/// A source, and what was found of it; nothing when its turn did not come.
pub struct Verified {
    /// The source's name.
    pub source: String,
    /// What was found.
    pub report: Option<VerifyReport>,
    /// It went on from where an earlier one had stopped.
    pub is_continued: bool,
}

impl Verified {
    /// True when no damage was found.
    pub fn is_sound(&self) -> bool {
        self.report.as_ref().is_none_or(VerifyReport::is_sound)
    }

    /// True when all of it was looked at.
    pub fn is_complete(&self) -> bool {
        self.report.as_ref().is_some_and(VerifyReport::is_complete)
    }

    /// As one JSON document.
    pub fn document(&self) -> Value {
        let Some(report) = &self.report else {
            return json!({ "source": self.source, "complete": false, "damages": [] });
        };
        let damages: Vec<Value> = report.damages.iter().map(damage).collect();
        let covered = report.covered;
        json!({
            "source": self.source,
            "snapshots": report.manifests,
            "forgotten": report.forgotten,
            "segments": report.segments,
            "records": report.records,
            "attachments": report.attachments,
            "older_packs": report.older_packs,
            "bytes_read": report.bytes_read,
            "complete": report.is_complete(),
            "covered": {
                "segments": covered.segments,
                "segments_total": covered.segments_total,
                "bytes": covered.bytes,
                "bytes_total": covered.bytes_total,
                "streams": covered.streams,
                "streams_total": covered.streams_total,
            },
            "damages": damages,
        })
    }
}

fn damage(damage: &Damage) -> Value {
    let keys = damage.keys.as_ref().map(|(first, last)| [first.to_string(), last.to_string()]);
    json!({
        "path": damage.path,
        "what": damage.what,
        "stream": damage.stream,
        "snapshots": damage.snapshots,
        "keys": keys,
    })
}

/// Prints all of it for a person.
pub fn print(verified: &[Verified], is_data: bool) {
    verified.iter().for_each(|verified| print_one(verified, is_data));
    let is_clean = verified.iter().all(Verified::is_sound);
    output::line(match (is_clean, verified.iter().all(Verified::is_complete)) {
        (true, true) => "clean",
        (true, false) => "clean as far as it came; --resume goes on",
        (false, _) => "DAMAGED: see above",
    });
}

fn print_one(verified: &Verified, is_data: bool) {
    let source = &verified.source;
    let Some(report) = &verified.report else {
        return output::line(&format!("{source}: its turn did not come this time"));
    };
    let older_packs = match report.older_packs {
        0 => String::new(),
        packs => format!("{} of older attachments, ", output::counted(packs, "pack")),
    };
    output::line(&format!(
        "{source}: {}, {}, {}, {}, {older_packs}{} read",
        output::counted(report.manifests, "snapshot"),
        output::counted(report.segments, "segment"),
        output::counted(report.records, "record"),
        output::counted(report.attachments, "attachment"),
        output::bytes(report.bytes_read),
    ));
    if is_data && (verified.is_continued || !report.is_complete()) {
        let covered = report.covered;
        output::line(&format!(
            "  covered {}: {} of {}, {} of {}",
            if report.is_complete() { "with the parts before" } else { "so far" },
            output::count(covered.segments),
            output::counted(covered.segments_total, "segment"),
            output::bytes(covered.bytes),
            output::bytes(covered.bytes_total),
        ));
    }
    for damage in &report.damages {
        let stream = damage.stream.as_deref().map_or_else(String::new, |stream| format!(", stream {stream}"));
        let keys = damage.keys.as_ref().map_or_else(String::new, |(first, last)| format!(", keys {first} to {last}"));
        let touched = damage.snapshots.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        output::line(&format!("  damaged: {}: {}{stream}{keys}; touches {touched}", damage.path, damage.what));
    }
}
