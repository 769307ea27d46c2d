//! Where content is cut: FastCDC (2020) with the account's own seed, so that the sizes of chunks, which a pack shows, do not
//! tell whether a known file is in it.

use bytes::{Bytes, BytesMut};
use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};

/// No chunk but the last of a content is smaller, in bytes.
pub(super) const MIN_BYTES: usize = 256 << 10;
/// What chunks take on the average, in bytes.
const AVERAGE_BYTES: usize = 1 << 20;
/// No chunk is larger, in bytes.
pub(crate) const MAX_BYTES: usize = 4 << 20;

/// Cuts one content, fed piece by piece. Holds one chunk at most, and the piece that ended it.
pub(super) struct Cutter {
    gear: [Vec<u64>; 2],
    masks: (u64, u64),
    pending: BytesMut,
}

impl Cutter {
    /// For one content of an account.
    pub(super) fn new(seed: u64) -> Self {
        let (gear, gear_ls) = get_gear_with_seed(seed);
        let masks = select_masks(AVERAGE_BYTES, Normalization::Level1);
        Self { gear: [gear.into_owned(), gear_ls.into_owned()], masks, pending: BytesMut::new() }
    }

    /// Takes bytes until it is full; returns the others.
    pub(super) fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (taken, rest) = bytes.split_at(bytes.len().min(MAX_BYTES.saturating_sub(self.pending.len())));
        self.pending.extend_from_slice(taken);
        rest
    }

    /// True when [`Cutter::next`] has enough to decide.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= MAX_BYTES
    }

    /// Takes the next chunk off what was added; `None` when nothing is left. Before the content's end only to be called
    /// when the cutter is full: a cut must not depend on how the bytes came.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        if self.pending.is_empty() {
            return None;
        }
        let window = &self.pending[..self.pending.len().min(MAX_BYTES)];
        let (mask_s, mask_l) = self.masks;
        let (_, len) = cut_gear(
            window,
            MIN_BYTES,
            AVERAGE_BYTES,
            MAX_BYTES,
            mask_s,
            mask_l,
            mask_s << 1,
            mask_l << 1,
            &self.gear[0],
            &self.gear[1],
        );
        let len = len.clamp(1, window.len());
        Some(self.pending.split_to(len).freeze())
    }
}
