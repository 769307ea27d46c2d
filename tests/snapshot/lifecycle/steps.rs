//! What may happen to a store.

use proptest::prelude::*;

/// Keys `0..KEYS`.
const KEYS: u8 = 40;

/// Something that happens; snapshots are picked by a share of all that were made.
#[derive(Clone, Debug)]
pub enum Act {
    /// A run makes a snapshot with these keys set or removed.
    Put {
        is_full: bool,
        edits: Vec<(u8, Option<u8>)>,
    },
    Pin(prop::sample::Index),
    Unpin(prop::sample::Index),
    Forget(prop::sample::Index),
    /// A worker takes a step of a collection, a grace later or at once.
    Collect {
        is_later: bool,
    },
    /// A bit of an object changes.
    Corrupt {
        object: prop::sample::Index,
        byte: prop::sample::Index,
        bit: u8,
    },
}

/// It happens; or the process dies at its `n`-th call on the objects, with or without that call's effect.
#[derive(Clone, Debug)]
pub struct Step {
    pub act: Act,
    pub dies_at: Option<(u64, bool)>,
}

pub fn steps(with_damage: bool) -> impl Strategy<Value = Vec<Step>> {
    let edits = prop::collection::vec((0..KEYS, prop::option::weighted(0.8, 0..4u8)), 1..30);
    let index = any::<prop::sample::Index>;
    let act = prop_oneof![
        6 => (any::<bool>(), edits).prop_map(|(is_full, edits)| Act::Put { is_full, edits }),
        2 => index().prop_map(Act::Pin),
        1 => index().prop_map(Act::Unpin),
        4 => index().prop_map(Act::Forget),
        4 => any::<bool>().prop_map(|is_later| Act::Collect { is_later }),
        u32::from(with_damage) => (index(), index(), 0..8u8)
            .prop_map(|(object, byte, bit)| Act::Corrupt { object, byte, bit }),
    ];
    let dies_at = prop::option::weighted(0.25, (0..25u64, any::<bool>()));
    prop::collection::vec((act, dies_at).prop_map(|(act, dies_at)| Step { act, dies_at }), 4..30)
}
