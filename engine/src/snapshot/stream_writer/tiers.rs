//! When segments of a stream are merged, so that a read touches few of them: size-tiered, as log-structured merge trees
//! do. Segments whose keys rise from one to the next form a run; a read touches one segment of each run.
//!
//! A tier is a factor of four in size. Four runs of one tier are merged, together with whatever is newer: so each tier
//! keeps three at most, and a byte is written again about once for each factor of four by which the stream outgrows it.

use crate::snapshot::segment::SegmentRef;

/// So many runs of one tier are merged.
const MERGE_RUNS: usize = 4;
/// Runs up to this size are one tier.
const LEAST_TIER_BYTES: u64 = 256 << 10;

/// Cuts segments, oldest first, into runs.
pub(super) fn runs(segments: &[SegmentRef]) -> Vec<&[SegmentRef]> {
    segments.chunk_by(|a, b| a.last_key < b.first_key).collect()
}

/// Runs from which on all are to be merged, given the bytes of each, oldest first; `None` when there is no need.
pub(super) fn first_to_merge(run_bytes: &[u64]) -> Option<usize> {
    let mut first = None;
    for tier in 0..=u64::BITS {
        let suffix = run_bytes.iter().rev().take_while(|bytes| tier_of(**bytes) <= tier).count();
        let start = run_bytes.len() - suffix;
        if run_bytes[start..].iter().filter(|bytes| tier_of(**bytes) == tier).count() >= MERGE_RUNS {
            first = Some(start);
        }
    }
    first
}

fn tier_of(bytes: u64) -> u32 {
    (bytes / LEAST_TIER_BYTES).checked_ilog(4).map_or(0, |tier| tier + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Adds runs one after the other as a stream would, and tells how many there were at most and the bytes written.
    fn grow(sizes: impl Iterator<Item = u64>) -> (usize, u64, Vec<u64>) {
        let (mut runs, mut most, mut written) = (Vec::new(), 0, 0);
        for size in sizes {
            runs.push(size);
            written += size;
            while let Some(first) = first_to_merge(&runs) {
                let merged: u64 = runs.drain(first..).sum();
                written += merged;
                runs.push(merged);
            }
            most = most.max(runs.len());
        }
        (most, written, runs)
    }

    #[test]
    fn a_year_of_daily_changes_of_one_in_a_hundred_keeps_reads_and_writes_few() {
        let (most, written, runs) = grow(std::iter::once(240 << 20).chain(std::iter::repeat_n(3600 << 10, 365)));
        let added = 365 * (3600 << 10);
        assert!(most <= 12, "{most} runs");
        assert!(written < (240 << 20) + added * 5, "{written} bytes for {added}");
        assert!(runs.len() < 12);
    }

    proptest! {
        #[test]
        fn merging_ends_and_leaves_three_runs_a_tier(sizes in prop::collection::vec(1u64..1 << 36, 1..300)) {
            let total: u64 = sizes.iter().sum();
            let (_, _, runs) = grow(sizes.into_iter());
            prop_assert_eq!(runs.iter().sum::<u64>(), total);
            prop_assert!(first_to_merge(&runs).is_none());
            for (i, run) in runs.iter().enumerate() {
                let newer = runs[i..].iter().take_while(|newer| tier_of(**newer) <= tier_of(*run));
                prop_assert!(newer.filter(|newer| tier_of(**newer) == tier_of(*run)).count() < MERGE_RUNS);
            }
        }
    }
}
