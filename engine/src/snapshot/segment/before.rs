//! What a key was before an entry: the entry's own word on what it replaced, so that two neighbouring snapshots can be
//! compared by their differences alone.

use crate::snapshot::codec::Malformed;

/// What stood under a key in the snapshot before that of the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// No live record.
    Absent,
    /// A live record with other content.
    Other,
    /// A live record with equal content: the run wrote something else first.
    Same,
    /// A live record; entries of several snapshots were merged, so its content may be either.
    Live,
}

impl Before {
    /// The two bits that stand for it.
    fn bits(self) -> u8 {
        match self {
            Self::Absent => 0,
            Self::Other => 1,
            Self::Same => 2,
            Self::Live => 3,
        }
    }

    fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Absent,
            1 => Self::Other,
            2 => Self::Same,
            _ => Self::Live,
        }
    }

    /// True when there was a live record.
    pub(crate) fn was_live(self) -> bool {
        self != Self::Absent
    }

    /// Of an entry whose older entries of other snapshots are merged into it; `oldest` is the first of them.
    pub(crate) fn over(oldest: Self) -> Self {
        if oldest.was_live() { Self::Live } else { Self::Absent }
    }
}

/// Appends four entries to a byte, the first in its lowest bits.
pub(super) fn encode(befores: impl Iterator<Item = Before>, out: &mut Vec<u8>) {
    for (i, before) in befores.enumerate() {
        match out.last_mut() {
            Some(last) if i % 4 != 0 => *last |= before.bits() << (i % 4 * 2),
            _ => out.push(before.bits()),
        }
    }
}

/// How many bytes `entries` take.
pub(super) fn bytes_of(entries: usize) -> usize {
    entries.div_ceil(4)
}

/// Reads what [`encode`] wrote of `entries` entries.
///
/// # Errors
/// `Malformed` when bits beyond the last entry are set.
pub(super) fn decode(bytes: &[u8], entries: usize) -> Result<Vec<Before>, Malformed> {
    let befores: Vec<Before> = (0..bytes.len() * 4).map(|i| Before::from_bits(bytes[i / 4] >> (i % 4 * 2))).collect();
    if befores[entries.min(befores.len())..].iter().any(|before| *before != Before::Absent) {
        return Err(Malformed("marks beyond the last record"));
    }
    Ok(befores.into_iter().take(entries).collect())
}
