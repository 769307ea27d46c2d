//! What a path tells of the object that is there.

use crate::{
    model::{AccountId, ExportId, RestoreId, SnapshotId, SourceId},
    snapshot::{
        chunks::PackId,
        retain::{ItemId, Shelf},
        segment::SegmentId,
    },
};

/// Whose manifest is at `path`; `None` when it is the path of something else.
pub fn parse_snapshot(path: &str) -> Option<(AccountId, SourceId, SnapshotId)> {
    let mut parts = path.split('/');
    let ids = match [parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next()?] {
        ["accounts", account, "sources", source, "snapshots", name] => {
            (account.parse().ok()?, source.parse().ok()?, name.strip_suffix(".snap")?.parse().ok()?)
        }
        _ => return None,
    };
    parts.next().is_none().then_some(ids)
}

/// The source that the object at `path` belongs to.
pub fn parse_source(path: &str) -> Option<SourceId> {
    let mut parts = path.split('/');
    match [parts.next()?, parts.next()?, parts.next()?, parts.next()?] {
        ["accounts", _, "sources", source] => source.parse().ok(),
        _ => None,
    }
}

/// The export at `path`; `None` when it is the path of something else.
pub fn parse_export(path: &str) -> Option<ExportId> {
    path.rsplit('/').next()?.strip_suffix(".export")?.split_once('-')?.1.parse().ok()
}

/// The restore whose order is at `path`; `None` when it is the path of something else.
pub fn parse_restore(path: &str) -> Option<RestoreId> {
    name(path)?.strip_suffix(".restore")?.split_once('-')?.1.parse().ok()
}

/// The number of the part of a restore's log at `path`.
pub fn parse_restore_log(path: &str) -> Option<u32> {
    name(path)?.strip_suffix(".outcomes")?.parse().ok()
}

/// The snapshot whose tombstone is at `path`.
pub fn parse_tombstone(path: &str) -> Option<SnapshotId> {
    name(path)?.strip_suffix(".forgotten")?.parse().ok()
}

/// The segment at `path`.
pub fn parse_segment(path: &str) -> Option<SegmentId> {
    name(path)?.strip_suffix(".seg")?.parse().ok()
}

/// The pack at `path`.
pub fn parse_pack(path: &str) -> Option<PackId> {
    name(path)?.strip_suffix(".pack")?.parse().ok()
}

/// The number of what is kept of a verification at `path`.
pub fn parse_verification(path: &str) -> Option<u32> {
    name(path)?.strip_suffix(".verification")?.parse().ok()
}

/// The snapshot and number of the mark at `path`.
pub fn parse_mark(path: &str) -> Option<(SnapshotId, u32)> {
    let (rest, name) = path.rsplit_once('/')?;
    Some((rest.rsplit('/').next()?.parse().ok()?, name.strip_suffix(".mark")?.parse().ok()?))
}

/// The collection that the document at `path` belongs to, and the document's kind.
pub fn parse_collection(path: &str) -> Option<(u32, &str)> {
    let (number, kind) = name(path)?.split_once('.')?;
    Some((number.parse().ok()?, kind))
}

/// What the document at `path` is, in words; `None` for objects of other kinds.
pub fn document_kind(path: &str) -> Option<&'static str> {
    let name = name(path)?;
    if path.contains("/collections/") {
        return Some(match name.rsplit('.').next()? {
            "doomed" => "the candidates of a collection",
            "waits" => "the runs that a collection waits for",
            "rescue" => "a segment that a collection must leave",
            "sweeping" => "the sign that somebody deletes for a collection",
            _ => return None,
        });
    }
    Some(match name.rsplit_once('.')?.1 {
        "snap" => "the manifest of a snapshot",
        "forgotten" => "the tombstone of a forgotten snapshot",
        "mark" => "an entry in the log of a snapshot: pin, hold or the decision to forget it",
        "collected" => "what a collection deleted",
        "drill" => "the signed report of a restore drill",
        "verification" => "how far a verification has come",
        "checkpoint" => "a checkpoint of a run",
        "export" => "an order for an export",
        "restore" => "an order to restore into a product",
        "outcomes" => "what became of records that were restored",
        _ => return None,
    })
}

fn name(path: &str) -> Option<&str> {
    path.rsplit('/').next()
}

/// Epoch and form of the wrapped key at `path`; `None` when it is the path of something else.
pub fn parse_key(path: &str) -> Option<(u32, u32)> {
    let name = name(path)?.strip_suffix(".key")?;
    let (epoch, form) = match name.split_once('.') {
        Some((epoch, form)) => (epoch.parse().ok()?, form.parse().ok().filter(|form| *form > 0)?),
        None => (name.parse().ok()?, 0),
    };
    let written = if form == 0 { format!("{epoch}") } else { format!("{epoch}.{form}") };
    (written == name).then_some((epoch, form))
}

/// What a document of that kind rescues.
pub fn parse_rescue(kind: &str) -> Option<ItemId> {
    kind.strip_suffix(".rescue")?.parse().ok()
}

/// What of a shelf is at `path`.
pub fn parse_item(shelf: Shelf, path: &str) -> Option<ItemId> {
    match shelf {
        Shelf::Segments(..) => parse_segment(path).map(ItemId::from),
        Shelf::Packs(_) => parse_pack(path).map(ItemId::from),
    }
}
