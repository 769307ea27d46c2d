//! The paths of all objects. Nobody else builds or takes apart a path.

use super::segment::SegmentId;
use crate::model::{AccountId, ExportId, RunId, SnapshotId, SourceId};

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

/// The `number`-th checkpoint that a run saved under `epoch` of its source's lease.
pub fn checkpoint(account_id: AccountId, source_id: SourceId, run_id: RunId, epoch: u64, number: u64) -> String {
    format!("{}{epoch}-{number}.checkpoint", checkpoints(account_id, source_id, run_id))
}

/// Prefix of a run's checkpoints.
pub fn checkpoints(account_id: AccountId, source_id: SourceId, run_id: RunId) -> String {
    format!("{}runs/{run_id}/", source(account_id, source_id))
}

/// A wrapped data key of an account.
pub fn key(account_id: AccountId, epoch: u32) -> String {
    format!("{}{epoch}.key", keys(account_id))
}

/// Prefix of an account's wrapped data keys.
pub fn keys(account_id: AccountId) -> String {
    format!("{}keys/", account(account_id))
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

/// Prefix of everything of a source.
pub fn source(account_id: AccountId, source_id: SourceId) -> String {
    format!("{}sources/{source_id}/", account(account_id))
}

/// Prefix of everything of an account.
pub fn account(account_id: AccountId) -> String {
    format!("accounts/{account_id}/")
}

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

/// The export at `path`; `None` when it is the path of something else.
pub fn parse_export(path: &str) -> Option<ExportId> {
    path.rsplit('/').next()?.strip_suffix(".export")?.split_once('-')?.1.parse().ok()
}

/// The epoch of the wrapped key at `path`; `None` when it is the path of something else.
pub fn parse_key_epoch(path: &str) -> Option<u32> {
    path.rsplit('/').next()?.strip_suffix(".key")?.parse().ok()
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
    fn a_key_path_names_its_epoch() {
        assert_eq!(parse_key_epoch(&key(AccountId::derived(1, [1; 10]), 7)), Some(7));
        assert_eq!(parse_key_epoch("accounts/x/keys/readme"), None);
    }
}
