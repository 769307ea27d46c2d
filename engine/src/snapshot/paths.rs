//! The paths of all objects. Nobody else builds or takes apart a path.

mod parse;

pub use self::parse::{
    document_kind, parse_collection, parse_export, parse_item, parse_key, parse_mark, parse_pack, parse_rescue,
    parse_restore, parse_restore_log, parse_segment, parse_snapshot, parse_source, parse_tombstone, parse_verification,
};
use super::{
    chunks::PackId,
    retain::{ItemId, Shelf},
    segment::SegmentId,
};
use crate::model::{AccountId, ExportId, RestoreId, RunId, SnapshotId, SourceId};

/// Greatest instant of an id, in milliseconds since 1970.
const INSTANT_MAX_MS: i64 = (1 << 48) - 1;

/// A segment of a source.
pub fn segment(account_id: AccountId, source_id: SourceId, segment_id: SegmentId) -> String {
    format!("{}{segment_id}.seg", segments(account_id, source_id))
}

/// Prefix of a source's segments.
pub fn segments(account_id: AccountId, source_id: SourceId) -> String {
    format!("{}segments/", source(account_id, source_id))
}

/// A snapshot's manifest.
pub fn snapshot(account_id: AccountId, source_id: SourceId, snapshot_id: SnapshotId) -> String {
    format!("{}{snapshot_id}.snap", snapshots(account_id, source_id))
}

/// Prefix of a source's manifests; their path order is the order in which their runs were created.
pub fn snapshots(account_id: AccountId, source_id: SourceId) -> String {
    format!("{}snapshots/", source(account_id, source_id))
}

/// What is left of a manifest that was forgotten.
pub fn tombstone(account_id: AccountId, source_id: SourceId, snapshot_id: SnapshotId) -> String {
    format!("{}{snapshot_id}.forgotten", snapshots(account_id, source_id))
}

/// The `number`-th mark of a snapshot, from 0.
pub fn mark(account_id: AccountId, source_id: SourceId, snapshot_id: SnapshotId, number: u32) -> String {
    format!("{}{number:06}.mark", marks_of(account_id, source_id, snapshot_id))
}

/// Prefix of a snapshot's marks.
pub fn marks_of(account_id: AccountId, source_id: SourceId, snapshot_id: SnapshotId) -> String {
    format!("{}{snapshot_id}/", marks(account_id, source_id))
}

/// Prefix of the marks of all snapshots of a source.
pub fn marks(account_id: AccountId, source_id: SourceId) -> String {
    format!("{}marks/", source(account_id, source_id))
}

/// A document of the `number`-th collection of a shelf while it is open; `kind` is its ending.
pub fn collection(shelf: Shelf, number: u32, kind: &str) -> String {
    format!("{}{number:010}.{kind}", collections(shelf))
}

/// Prefix of what belongs to open collections of a shelf.
pub fn collections(shelf: Shelf) -> String {
    format!("{}collections/", owner(shelf))
}

/// The kind of the document by which a writer keeps something from an open collection.
pub fn rescue(id: ItemId) -> String {
    format!("{id}.rescue")
}

/// What the `number`-th collection of a shelf came to.
pub fn collected(shelf: Shelf, number: u32) -> String {
    format!("{}{number:010}.collected", all_collected(shelf))
}

/// Prefix of what the collections of a shelf came to.
pub fn all_collected(shelf: Shelf) -> String {
    format!("{}collected/", owner(shelf))
}

/// Prefix of what is on a shelf.
pub fn items(shelf: Shelf) -> String {
    match shelf {
        Shelf::Segments(account_id, source_id) => segments(account_id, source_id),
        Shelf::Packs(account_id) => packs(account_id),
    }
}

/// Something on a shelf.
pub fn item(shelf: Shelf, id: ItemId) -> String {
    match shelf {
        Shelf::Segments(..) => format!("{}{id}.seg", items(shelf)),
        Shelf::Packs(_) => format!("{}{id}.pack", items(shelf)),
    }
}

fn owner(shelf: Shelf) -> String {
    match shelf {
        Shelf::Segments(account_id, source_id) => source(account_id, source_id),
        Shelf::Packs(account_id) => account(account_id),
    }
}

/// The packs that a state of the attachments of a stream needs; `digest` stands for the state.
pub fn pack_list(account_id: AccountId, source_id: SourceId, digest: &str) -> String {
    format!("{}{digest}.packs", pack_lists(account_id, source_id))
}

/// Prefix of a source's lists of packs.
pub fn pack_lists(account_id: AccountId, source_id: SourceId) -> String {
    format!("{}packs/", source(account_id, source_id))
}

/// How far verifications of a source have come, kept for the `number`-th time; only the newest stays.
pub fn verification(account_id: AccountId, source_id: SourceId, number: u32) -> String {
    format!("{}{number:010}.verification", verifications(account_id, source_id))
}

/// Prefix of how far verifications of a source have come.
pub fn verifications(account_id: AccountId, source_id: SourceId) -> String {
    format!("{}verifications/", source(account_id, source_id))
}

/// The signed report of a drill of a snapshot that began at that instant.
pub fn drill(account_id: AccountId, source_id: SourceId, snapshot_id: SnapshotId, started_at_ms: i64) -> String {
    format!("{}{snapshot_id}-{:012x}.drill", drills(account_id, source_id), started_at_ms.max(0))
}

/// Prefix of the reports of a source's drills.
pub fn drills(account_id: AccountId, source_id: SourceId) -> String {
    format!("{}drills/", source(account_id, source_id))
}

/// The `number`-th checkpoint that a run saved under `epoch` of its source's lease.
pub fn checkpoint(account_id: AccountId, source_id: SourceId, run_id: RunId, epoch: u64, number: u64) -> String {
    format!("{}{epoch}-{number}.checkpoint", checkpoints(account_id, source_id, run_id))
}

/// Prefix of a run's checkpoints.
pub fn checkpoints(account_id: AccountId, source_id: SourceId, run_id: RunId) -> String {
    format!("{}runs/{run_id}/", source(account_id, source_id))
}

/// A wrapped data key of an account, as it was made.
pub fn key(account_id: AccountId, epoch: u32) -> String {
    format!("{}{epoch}.key", keys(account_id))
}

/// A form of a wrapped data key: 0 as it was made, later ones under later master keys.
pub fn key_form(account_id: AccountId, epoch: u32, form: u32) -> String {
    match form {
        0 => key(account_id, epoch),
        _ => format!("{}{epoch}.{form}.key", keys(account_id)),
    }
}

/// Prefix of an account's wrapped data keys.
pub fn keys(account_id: AccountId) -> String {
    format!("{}keys/", account(account_id))
}

/// Says that an account's data keys were destroyed. In path order it comes after all of them.
pub fn keys_destroyed(account_id: AccountId) -> String {
    format!("{}destroyed", keys(account_id))
}

/// Prefixes of everything of an account that is sealed under its data keys.
pub fn sealed(account_id: AccountId) -> [String; 7] {
    let restored = format!("{}restored/", account(account_id));
    let [collections, collected] = [collections, all_collected].map(|prefix| prefix(Shelf::Packs(account_id)));
    [
        sources(account_id),
        packs(account_id),
        exports(account_id),
        restores(account_id),
        restored,
        collections,
        collected,
    ]
}

/// An account's own integration, by the BLAKE3 digest of its manifest in hex.
pub fn integration(account_id: AccountId, digest: &str) -> String {
    format!("{}integrations/{digest}.yaml", account(account_id))
}

/// An export. In path order the newest comes first, so that a page of them is one listing.
pub fn export(account_id: AccountId, export_id: ExportId) -> String {
    let rank = INSTANT_MAX_MS - export_id.instant_ms();
    format!("{}{rank:012x}-{export_id}.export", exports(account_id))
}

/// Prefix of an account's exports.
pub fn exports(account_id: AccountId) -> String {
    format!("{}exports/", account(account_id))
}

/// The order of a restore. In path order the newest comes first, as for exports.
pub fn restore(account_id: AccountId, restore_id: RestoreId) -> String {
    let rank = INSTANT_MAX_MS - restore_id.instant_ms();
    format!("{}{rank:012x}-{restore_id}.restore", restores(account_id))
}

/// Prefix of an account's restores.
pub fn restores(account_id: AccountId) -> String {
    format!("{}restores/", account(account_id))
}

/// The `number`-th part of a restore's log, from 0.
pub fn restore_log(account_id: AccountId, restore_id: RestoreId, number: u32) -> String {
    format!("{}{number:08}.outcomes", restore_logs(account_id, restore_id))
}

/// Prefix of a restore's log.
pub fn restore_logs(account_id: AccountId, restore_id: RestoreId) -> String {
    format!("{}restored/{restore_id}/", account(account_id))
}

/// A pack of chunks.
pub fn pack(account_id: AccountId, pack_id: PackId) -> String {
    format!("{}{pack_id}.pack", packs(account_id))
}

/// Prefix of an account's packs.
pub fn packs(account_id: AccountId) -> String {
    format!("{}chunks/", account(account_id))
}

/// Prefix of everything of a source.
pub fn source(account_id: AccountId, source_id: SourceId) -> String {
    format!("{}{source_id}/", sources(account_id))
}

/// Prefix of everything of an account's sources.
pub fn sources(account_id: AccountId) -> String {
    format!("{}sources/", account(account_id))
}

/// Prefix of everything of an account.
pub fn account(account_id: AccountId) -> String {
    format!("accounts/{account_id}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_path_names_its_owner_and_other_paths_do_not() {
        let ids = (AccountId::derived(1, [1; 10]), SourceId::derived(2, [2; 10]), SnapshotId::derived(3, [3; 10]));
        let path = snapshot(ids.0, ids.1, ids.2);
        assert_eq!(parse_snapshot(&path), Some(ids));
        assert_eq!(parse_snapshot(&format!("{path}/x")), None);
        assert_eq!(parse_snapshot(&path.replace("snapshots", "segments")), None);
        assert_eq!(parse_snapshot("accounts"), None);
    }

    #[test]
    fn newer_exports_come_first_in_path_order() {
        let account_id = AccountId::derived(1, [1; 10]);
        let ids: Vec<_> = [INSTANT_MAX_MS, 1_800_000_000_000, 1_799_999_999_999, 0]
            .map(|instant_ms| ExportId::derived(instant_ms, [7; 10]))
            .into();
        let paths: Vec<_> = ids.iter().map(|id| export(account_id, *id)).collect();
        assert!(paths.is_sorted() && paths.iter().all(|path| path.starts_with(&exports(account_id))));
        assert_eq!(paths.iter().filter_map(|path| parse_export(path)).collect::<Vec<_>>(), ids);
        assert_eq!(parse_export(&key(account_id, 7)), None);
    }

    #[test]
    fn the_paths_of_retention_tell_what_they_are_of() {
        let ids = (AccountId::derived(1, [1; 10]), SourceId::derived(2, [2; 10]), SnapshotId::derived(3, [3; 10]));
        assert_eq!(parse_tombstone(&tombstone(ids.0, ids.1, ids.2)), Some(ids.2));
        assert_eq!(parse_tombstone(&snapshot(ids.0, ids.1, ids.2)), None);
        assert_eq!(parse_snapshot(&tombstone(ids.0, ids.1, ids.2)), None);
        assert_eq!(parse_mark(&mark(ids.0, ids.1, ids.2, 12)), Some((ids.2, 12)));
        let id: ItemId = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
        let shelves = [Shelf::Segments(ids.0, ids.1), Shelf::Packs(ids.0)];
        for (shelf, other) in shelves.into_iter().zip(shelves.into_iter().rev()) {
            assert_eq!(parse_collection(&collection(shelf, 7, "doomed")), Some((7, "doomed")));
            assert_eq!(parse_collection(&collected(shelf, 7)), Some((7, "collected")));
            assert_eq!(parse_item(shelf, &item(shelf, id)), Some(id));
            assert_eq!(parse_item(other, &item(shelf, id)), None);
            assert!(item(shelf, id).starts_with(&items(shelf)));
            assert_eq!(parse_collection(&collection(shelf, 7, &rescue(id))), Some((7, rescue(id).as_str())));
        }
        assert_eq!(parse_rescue(&rescue(id)), Some(id));
        let segment_id = parse_segment(&item(shelves[0], id)).unwrap();
        assert_eq!(segment(ids.0, ids.1, segment_id), item(shelves[0], id));
        assert_eq!(pack(ids.0, parse_pack(&item(shelves[1], id)).unwrap()), item(shelves[1], id));
    }

    #[test]
    fn a_key_path_names_its_epoch_and_form_and_is_written_in_one_way() {
        let account_id = AccountId::derived(1, [1; 10]);
        for (epoch, form) in [(7, 0), (7, 1), (12, 30)] {
            assert_eq!(parse_key(&key_form(account_id, epoch, form)), Some((epoch, form)));
        }
        assert_eq!(key_form(account_id, 7, 0), key(account_id, 7));
        for other in ["readme", "destroyed", "07.key", "+7.key", "7.0.key", "7.01.key", "7.1.1.key"] {
            assert_eq!(parse_key(&format!("accounts/x/keys/{other}")), None, "{other}");
        }
    }
}
