//! What shows when nothing is spoilt.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    Trial,
    reading::{self, Outcome, Reading, counted},
};
use crate::{ErrorKind, ReadEnd, StreamSpec, http::injector::Injector};

/// Positions of a read from which it is gone on.
const POSITIONS_MAX: usize = 3;
/// A shorter setting may stand in a header by chance.
const SETTING_MIN_BYTES: usize = 6;

impl Trial<'_> {
    /// The records themselves, and what went over the wire.
    pub(super) fn look_at(&self, stream: &StreamSpec, plain: &Reading, watcher: &Injector) {
        let name = &stream.name;
        for (line, fault) in &plain.faults {
            self.ledger.broken(*line, &format!("{name}: {fault}"));
        }
        if !plain.records.is_empty() {
            self.ledger.kept(13, "every record is an object inside its page");
            self.ledger.note(24, !watcher.seen().is_empty(), "requests were seen for every record");
        }
        if plain.deletions > 0 {
            self.ledger.kept(11, &format!("{name}: {} records are marked", plain.deletions));
        }
        self.keys(stream, plain);
        self.headers(watcher);
    }

    /// Line 9: a key in every record, and no key twice for different things.
    fn keys(&self, stream: &StreamSpec, plain: &Reading) {
        if stream.primary_key.is_empty() || plain.records.is_empty() {
            return;
        }
        let lacks = |key: &Vec<String>| {
            key.len() != stream.primary_key.len() || key.iter().any(|part| part.is_empty() || part == "null")
        };
        let without = plain.records.iter().filter(|(_, key)| lacks(key)).count();
        let name = &stream.name;
        self.ledger.note(9, without == 0, &format!("{name}: {without} of {} records lack a key", plain.records.len()));
    }

    /// Lines 4 and 26: what signs requests is marked, in the settings and in the header.
    fn headers(&self, watcher: &Injector) {
        let loose = watcher.loose_headers();
        let guarded = watcher.guarded();
        if !loose.is_empty() {
            self.ledger.broken(26, &format!("a secret is sent in a header like any other: {}", loose.join(", ")));
        } else if !guarded.is_empty() {
            self.ledger.kept(26, "credentials were sent in guarded headers only");
        }
        if guarded.is_empty() {
            return;
        }
        let mut texts = Vec::new();
        strings(&self.subject.settings, "", &mut texts);
        let is_open = |text: &str| text.len() >= SETTING_MIN_BYTES && !self.secrets.iter().any(|secret| secret == text);
        let open = texts.iter().filter(|(_, text)| is_open(text) && guarded.iter().any(|value| value.contains(text)));
        let open: Vec<&str> = open.map(|(pointer, _)| pointer.as_str()).collect();
        if open.is_empty() {
            self.ledger.kept(4, "no setting in a credential's header is unmarked");
        } else {
            self.ledger.broken(4, &format!("sent as a credential and not marked: {}", open.join(", ")));
        }
    }

    /// The same again, from positions, and from the state.
    pub(super) async fn read_again(&self, stream: &Arc<StreamSpec>, plain: &Reading, end: &ReadEnd) {
        let again = self.read(&self.watcher(None), stream, None, None).await;
        let name = &stream.name;
        if let Some(second) = again.end() {
            let is_same = again.counted() == plain.counted();
            let seen = format!("{name}: {} records, and {} when read again", plain.records.len(), again.records.len());
            self.ledger.note(18, is_same, &seen);
            if !stream.primary_key.is_empty() && !plain.records.is_empty() {
                let keys =
                    |reading: &Reading| reading.records.iter().map(|(_, key)| key.clone()).collect::<BTreeSet<_>>();
                self.ledger.note(9, keys(&again) == keys(plain), &format!("{name}: the keys of two reads"));
            }
            self.ledger.note(20, second.is_full == end.is_full, &format!("{name}: is_full of two reads"));
        }
        self.go_on(stream, plain, end).await;
        self.after_state(stream, end).await;
    }

    /// Lines 16 and 17.
    async fn go_on(&self, stream: &Arc<StreamSpec>, plain: &Reading, end: &ReadEnd) {
        let name = &stream.name;
        let step = plain.positions.len().div_ceil(POSITIONS_MAX).max(1);
        for (count, position) in plain.positions.iter().step_by(step) {
            let watcher = self.watcher(None);
            let rest = self.read(&watcher, stream, None, Some(position.clone())).await;
            if watcher.unrecorded().is_some() {
                continue;
            }
            let mut all = plain.records[..*count].to_vec();
            all.extend(rest.records.iter().cloned());
            let missing = missing(&plain.counted(), &counted(&all));
            if rest.end().is_some() {
                self.named_after(stream, plain, *count, &rest);
            }
            let seen = format!("{name}: gone on after {count} records: {}, {missing} missing", rest.outcome.told());
            self.ledger.note(16, rest.end().is_some() && missing == 0, &seen);
            if let Some(resumed) = rest.end() {
                let is_same = resumed.state == end.state
                    && resumed.is_full == end.is_full
                    && resumed.failed_items == end.failed_items;
                self.ledger.note(17, is_same, &format!("{name}: state, is_full and failed items after going on"));
            }
        }
        if plain.positions.is_empty() {
            return;
        }
        let foreign = json!({ "written by": "another connector" });
        let refused = self.read(&self.watcher(None), stream, None, Some(foreign)).await;
        let is_refused = refused.outcome.kind() == Some(ErrorKind::Invalid);
        self.ledger.note(16, is_refused, &format!("{name}: a foreign position: {}", refused.outcome.told()));
    }

    /// Line 19. A recording may not hold these requests: then nothing is seen.
    async fn after_state(&self, stream: &Arc<StreamSpec>, end: &ReadEnd) {
        let Some(state) = &end.state else { return };
        let next = self.read(&self.watcher(None), stream, Some(state.clone()), None).await;
        let Some(later) = next.end().and_then(|end| end.state.as_ref()) else { return };
        let name = &stream.name;
        self.ledger.note(19, !is_before(later, state), &format!("{name}: the state of a read from the state"));
    }

    /// Line 22.
    pub(super) async fn go_away(&self, stream: &Arc<StreamSpec>, plain: &Reading) {
        if plain.positions.len() < 8 {
            return;
        }
        let Ok(connector) = self.connect(&self.watcher(None)) else { return };
        let outcome = reading::leave(connector, Arc::clone(stream)).await;
        let is_kept = outcome.kind() == Some(ErrorKind::Cancelled);
        if is_kept || !matches!(outcome, Outcome::Failed(_)) {
            self.ledger.note(22, is_kept, &format!("{}: {}", stream.name, outcome.told()));
        }
    }
}

/// How many of `wanted` are not in `found`.
pub(super) fn missing(wanted: &BTreeMap<u64, usize>, found: &BTreeMap<u64, usize>) -> usize {
    wanted.iter().map(|(body, count)| count.saturating_sub(found.get(body).copied().unwrap_or(0))).sum()
}

/// A member of states that is a length of time, and no place.
const LENGTH: &str = "lookback_window";

/// True when a value anywhere in `later` is less than the one at its place in `earlier`.
pub(super) fn is_before(later: &Value, earlier: &Value) -> bool {
    match (later, earlier) {
        (Value::Object(later), Value::Object(earlier)) => earlier
            .iter()
            .filter(|(name, _)| *name != LENGTH)
            .any(|(name, value)| later.get(name).is_some_and(|later| is_before(later, value))),
        (Value::String(later), Value::String(earlier)) => later < earlier,
        (Value::Number(later), Value::Number(earlier)) => later.as_f64() < earlier.as_f64(),
        _ => false,
    }
}

/// Every text of the settings, by its JSON pointer.
fn strings(value: &Value, pointer: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => found.push((pointer.to_owned(), text.clone())),
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| strings(value, &format!("{pointer}/{name}"), found));
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, pointer, found)),
        _ => {}
    }
}
