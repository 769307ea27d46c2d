//! What may happen to the attachments of an account.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::attachments::noise;

/// Sources of the account.
pub const SOURCES: usize = 2;

/// An attachment, by its record and its name there, and its new content; none when it is removed.
pub type Edits = BTreeMap<(u8, u8), Option<u8>>;

/// Something that happens, to one of the sources.
#[derive(Clone, Debug)]
pub enum Act {
    /// A run makes a snapshot, or goes on where it stood still; with `pauses` a new one stands still half way, at a checkpoint.
    /// With `meanwhile` a collection takes a step, a grace later, after the run has looked for what is stored.
    Put {
        is_full: bool,
        pauses: bool,
        meanwhile: bool,
        edits: Edits,
    },
    /// A run that stands still is given up.
    GiveUp,
    Forget(prop::sample::Index),
    /// Another worker takes a step of the collections, a grace later or at once.
    Collect {
        is_later: bool,
    },
}

/// It happens; or the process dies at its `n`-th call on the objects, with or without that call's effect.
#[derive(Clone, Debug)]
pub struct Step {
    pub source: usize,
    pub act: Act,
    pub dies_at: Option<(u64, bool)>,
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Few contents, so that they come again and are in both sources; fewer places for them, so that they go.
    let edits = prop::collection::btree_map((0..2u8, 0..1u8), prop::option::weighted(0.6, 0..6u8), 1..3);
    let act = prop_oneof![
        7 => (any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.5), edits)
            .prop_map(|(is_full, pauses, meanwhile, edits)| Act::Put { is_full, pauses, meanwhile, edits }),
        1 => Just(Act::GiveUp),
        10 => any::<prop::sample::Index>().prop_map(Act::Forget),
        7 => prop::bool::weighted(0.7).prop_map(|is_later| Act::Collect { is_later }),
    ];
    let dies_at = prop::option::weighted(0.15, (0..40u64, any::<bool>()));
    let step = (0..SOURCES, act, dies_at).prop_map(|(source, act, dies_at)| Step { source, act, dies_at });
    prop::collection::vec(step, 20..60)
}

/// Content number `n`: the greater ones begin with a smaller one, so that packs are needed in part.
pub fn content(n: u8) -> Vec<u8> {
    let own = noise(n.into(), 500 + usize::from(n) * 400);
    if n < 3 { own } else { [content(n - 3), own].concat() }
}

pub fn name((record, attachment): (u8, u8)) -> (String, String) {
    (record.to_string(), format!("a{attachment}"))
}
