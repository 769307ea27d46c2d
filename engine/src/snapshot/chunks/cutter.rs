//! Where content is cut: FastCDC (2020) with the account's own seed, so that the sizes of chunks, which a pack shows, do not
//! tell whether a known file is in it.

use bytes::{Bytes, BytesMut};
use fastcdc::v2020::{Normalization, cut_gear, get_gear_with_seed, select_masks};

/// No chunk is larger, whatever the writer's settings, in bytes.
pub(crate) const MAX_BYTES: usize = 4 << 20;
/// The largest chunk and the average one: so many times.
const SPREAD: usize = 4;
/// Below that there is nothing to choose from.
const AVERAGE_BYTES_MIN: usize = 1 << 10;

/// Cuts one content, fed piece by piece. Holds one chunk at most, and the piece that ended it.
pub(super) struct Cutter {
    gear: [Vec<u64>; 2],
    masks: (u64, u64),
    average_bytes: usize,
    pending: BytesMut,
}

impl Cutter {
    /// For one content of an account, into chunks of so many bytes on the average.
    pub(super) fn new(seed: u64, average_bytes: usize) -> Self {
        let average_bytes = average_bytes.clamp(AVERAGE_BYTES_MIN, MAX_BYTES / SPREAD);
        let (gear, gear_ls) = get_gear_with_seed(seed);
        let masks = select_masks(average_bytes, Normalization::Level1);
        Self { gear: [gear.into_owned(), gear_ls.into_owned()], masks, average_bytes, pending: BytesMut::new() }
    }

    /// Takes bytes until it is full; returns the others.
    pub(super) fn fill<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (taken, rest) = bytes.split_at(bytes.len().min(self.max_bytes().saturating_sub(self.pending.len())));
        self.pending.extend_from_slice(taken);
        rest
    }

    /// True when [`Cutter::next`] has enough to decide.
    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= self.max_bytes()
    }

    fn max_bytes(&self) -> usize {
        self.average_bytes * SPREAD
    }

    /// Takes the next chunk off what was added; `None` when nothing is left. Before the content's end only to be called
    /// when the cutter is full: a cut must not depend on how the bytes came.
    pub(super) fn next(&mut self) -> Option<Bytes> {
        if self.pending.is_empty() {
            return None;
        }
        let window = &self.pending[..self.pending.len().min(self.max_bytes())];
        let (mask_s, mask_l) = self.masks;
        let (_, len) = cut_gear(
            window,
            self.average_bytes / SPREAD,
            self.average_bytes,
            self.max_bytes(),
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
