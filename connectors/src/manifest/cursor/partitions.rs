//! What is remembered of a whole stream: one state, or one a partition with a common one behind it.

use std::collections::{HashMap, hash_map::Entry};

use serde_json::{Map, Value, json};

use super::{Cursor, Intervals};
use crate::{
    Result,
    manifest::{
        slice::{Named, Slice, canonical, dict},
        template::Python,
        time::{Duration, Moment},
    },
};

/// The states of a stream's partitions.
#[derive(Debug)]
pub(crate) struct Progress {
    cursor: Cursor,
    kind: Kind,
    /// Slices being read: how many of each partition are open, and whether more will come.
    open: HashMap<String, usize>,
    has_seen_values: bool,
    /// A slice was left unread: the common value must not pass it.
    has_gaps: bool,
    started: tokio::time::Instant,
}

#[derive(Debug)]
enum Kind {
    /// The stream has no partitions.
    Single(Intervals),
    /// One state a partition.
    Many(Box<Many>),
}

#[derive(Debug, Default)]
struct Many {
    /// Keys in the order of their states, with the states.
    order: Vec<String>,
    states: HashMap<String, Intervals>,
    /// The common value of the last complete read.
    global: Option<String>,
    /// The common value so far.
    new_global: Option<String>,
    lookback_s: i64,
    is_global: bool,
    parents: Map<String, Value>,
    /// Partitions met in this read: each is read once.
    met: std::collections::HashSet<String>,
}

impl Progress {
    /// Reads a state in any of its forms.
    ///
    /// # Errors
    /// `Invalid` for values that do not fit the cursor's formats.
    pub(crate) fn new(cursor: Cursor, state: Option<&Value>, has_partitions: bool, is_global: bool) -> Result<Self> {
        let kind = if has_partitions {
            Kind::Many(Box::new(Many::from_state(&cursor, state, is_global)?))
        } else {
            Kind::Single(Intervals::from_state(&cursor, state, None)?)
        };
        Ok(Self {
            cursor,
            kind,
            open: HashMap::new(),
            has_seen_values: false,
            has_gaps: false,
            started: tokio::time::Instant::now(),
        })
    }

    /// The cursor.
    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The slices of a partition that this state leaves to be read; none when the partition was met before.
    ///
    /// # Errors
    /// `Invalid` when a date leaves the calendar.
    pub(crate) fn open(&mut self, partition: &Slice) -> Result<Vec<Slice>> {
        let key = partition.partition_key();
        let windows = match &mut self.kind {
            Kind::Single(intervals) => intervals.open_windows(&self.cursor)?,
            Kind::Many(many) => {
                if !many.met.insert(key.clone()) {
                    tracing::warn!(partition = %key, "the same partition again: it is read once");
                    return Ok(Vec::new());
                }
                many.intervals(&self.cursor, &key)?.open_windows(&self.cursor)?
            }
        };
        let cursor = &self.cursor;
        let slices =
            windows.iter().map(|(start, end)| Slice { window: cursor.window(start, end), ..partition.clone() });
        Ok(slices.collect())
    }

    /// Expects `count` slices of a partition to be closed.
    ///
    /// # Errors
    /// `Invalid` when the common state does not fit the cursor's formats.
    pub(crate) fn begin(&mut self, partition: &Slice, count: usize) -> Result<()> {
        let key = partition.partition_key();
        if let Kind::Many(many) = &mut self.kind {
            many.intervals(&self.cursor, &key)?;
        }
        *self.open.entry(key).or_default() += count;
        Ok(())
    }

    /// The moment from which a slice's partition reads.
    pub(crate) fn from(&self, slice: &Slice) -> Moment {
        match &self.kind {
            Kind::Single(intervals) => intervals.from,
            Kind::Many(many) => many.states.get(&slice.partition_key()).map_or(self.cursor.start, |state| state.from),
        }
    }

    /// Notes a cursor value of a record that was sent.
    pub(crate) fn observe(&mut self, latest: &Moment) {
        self.has_seen_values = true;
        let value = self.cursor.text(latest);
        if let Kind::Many(many) = &mut self.kind {
            many.raise(value);
        }
    }

    /// Notes that a slice has been read to its end.
    ///
    /// # Errors
    /// `Invalid` when a date leaves the calendar.
    pub(crate) fn close(&mut self, slice: &Slice, latest: Option<Moment>) -> Result<()> {
        let Some((start, end)) = self.cursor.window_of(slice) else { return Ok(()) };
        let key = slice.partition_key();
        let is_last = match self.open.get_mut(&key) {
            Some(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
            None => true,
        };
        match &mut self.kind {
            Kind::Single(intervals) => intervals.close(&self.cursor, start, end, latest),
            Kind::Many(many) if many.is_global => Ok(()),
            Kind::Many(many) => {
                many.intervals(&self.cursor, &key)?.close(&self.cursor, start, end, latest)?;
                if is_last && let Some(state) = many.states.get(&key) {
                    let value = state.value(&self.cursor);
                    many.raise(value);
                }
                Ok(())
            }
        }
    }

    /// Notes that a slice was not read: its window stays open.
    pub(crate) fn leave_unread(&mut self) {
        self.has_gaps = true;
    }

    /// The states of parents that are read incrementally, by the parent's name.
    pub(crate) fn set_parents(&mut self, parents: Map<String, Value>) {
        if let Kind::Many(many) = &mut self.kind {
            many.parents = parents;
        }
    }

    /// The state after a complete read.
    pub(crate) fn final_state(&mut self) -> Value {
        if let Kind::Many(many) = &mut self.kind
            && self.has_seen_values
            && !self.has_gaps
        {
            many.global = many.new_global.clone();
            // Records may have changed while the read went on: the next one looks back this far in new partitions.
            many.lookback_s = self.started.elapsed().as_secs_f64().ceil() as i64;
        }
        self.state()
    }

    /// The state as it stands.
    pub(crate) fn state(&self) -> Value {
        match &self.kind {
            Kind::Single(intervals) => intervals.to_state(&self.cursor),
            Kind::Many(many) => many.to_state(&self.cursor),
        }
    }

    /// Everything that a later read of the same run needs.
    pub(crate) fn to_position(&self) -> Value {
        match &self.kind {
            Kind::Single(intervals) => {
                json!({"one": intervals.to_position(), "seen": self.has_seen_values, "gaps": self.has_gaps})
            }
            Kind::Many(many) => {
                let states: Vec<_> = many
                    .order
                    .iter()
                    .filter_map(|key| Some(json!([key, many.states.get(key)?.to_position()])))
                    .collect();
                json!({"many": states, "seen": self.has_seen_values, "gaps": self.has_gaps, "global": many.global, "new_global": many.new_global,
                       "lookback": many.lookback_s, "is_global": many.is_global})
            }
        }
    }

    /// Takes up what [`Progress::to_position`] wrote; false when it does not fit.
    pub(crate) fn resume(&mut self, position: &Value) -> bool {
        let flag = |name: &str| position.get(name).and_then(Value::as_bool).unwrap_or(false);
        (self.has_seen_values, self.has_gaps) = (flag("seen"), flag("gaps"));
        match &mut self.kind {
            Kind::Single(intervals) => match position.get("one").and_then(Intervals::from_position) {
                Some(found) => *intervals = found,
                None => return false,
            },
            Kind::Many(many) => {
                let Some(states) = position.get("many").and_then(Value::as_array) else { return false };
                for entry in states {
                    let parts =
                        entry.get(0).and_then(Value::as_str).zip(entry.get(1).and_then(Intervals::from_position));
                    let Some((key, state)) = parts else { return false };
                    many.put(key.to_owned(), state);
                }
                let text = |name: &str| position.get(name).and_then(Value::as_str).map(str::to_owned);
                (many.global, many.new_global) = (text("global"), text("new_global"));
                many.lookback_s = position.get("lookback").and_then(Value::as_i64).unwrap_or(0);
                many.is_global = position.get("is_global").and_then(Value::as_bool).unwrap_or(many.is_global);
            }
        }
        true
    }
}

impl Many {
    fn from_state(cursor: &Cursor, state: Option<&Value>, is_global: bool) -> Result<Self> {
        let mut many = Self { is_global, ..Self::default() };
        let Some(members) = state.and_then(Value::as_object).filter(|members| !members.is_empty()) else {
            return Ok(many);
        };
        if !members.contains_key("states") && !members.contains_key("state") {
            many.set_global(cursor, members);
        } else {
            // A state that holds partitions decides, as in the reference.
            many.is_global = members.get("use_global_cursor").and_then(Value::as_bool).unwrap_or(false);
            many.lookback_s = members.get("lookback_window").and_then(Value::as_f64).unwrap_or(0.0) as i64;
            for entry in members.get("states").and_then(Value::as_array).into_iter().flatten() {
                let (Some(partition), Some(state)) = (entry.get("partition"), entry.get("cursor")) else { continue };
                let state = Intervals::from_state(cursor, Some(state), None)?;
                many.put(canonical(&Python::from(partition)), state);
            }
            if let Some(global) = members.get("state").and_then(Value::as_object) {
                many.set_global(cursor, global);
            }
        }
        if let Some(parents) = members.get("parent_state").and_then(Value::as_object) {
            many.parents = parents.clone();
        }
        Ok(many)
    }

    fn set_global(&mut self, cursor: &Cursor, members: &Map<String, Value>) {
        let value = members.get(&cursor.field).filter(|value| !value.is_null());
        let moment = value.and_then(|value| cursor.parse_json(&value.to_string()));
        self.global = moment.map(|moment| cursor.text(&moment));
        self.new_global.clone_from(&self.global);
    }

    fn put(&mut self, key: String, state: Intervals) {
        if self.states.insert(key.clone(), state).is_none() {
            self.order.push(key);
        }
    }

    /// The state of a partition; a new one starts from the common value, less the look-back.
    fn intervals(&mut self, cursor: &Cursor, key: &str) -> Result<&mut Intervals> {
        match self.states.entry(key.to_owned()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => {
                let global = self.global.as_ref().map(|value| json!({cursor.field.as_str(): value}));
                let lookback = self.global.as_ref().map(|_| Duration::from_seconds(self.lookback_s));
                let state = Intervals::from_state(cursor, global.as_ref(), lookback)?;
                self.order.push(key.to_owned());
                Ok(new.insert(state))
            }
        }
    }

    /// Values compare as texts, as in the reference.
    fn raise(&mut self, value: String) {
        if self.new_global.as_ref().is_none_or(|known| *known < value) {
            self.new_global = Some(value);
        }
    }

    fn to_state(&self, cursor: &Cursor) -> Value {
        let mut members = Map::new();
        members.insert("use_global_cursor".into(), Value::Bool(self.is_global));
        if !self.is_global {
            let states = self.order.iter().filter_map(|key| {
                let partition: Value = serde_json::from_str(key).ok()?;
                Some(json!({"partition": partition, "cursor": self.states.get(key)?.to_state(cursor)}))
            });
            members.insert("states".into(), states.collect());
        }
        if let Some(global) = &self.global {
            members.insert("state".into(), json!({cursor.field.as_str(): cursor.json(global)}));
        }
        members.insert("lookback_window".into(), self.lookback_s.into());
        if !self.parents.is_empty() {
            members.insert("parent_state".into(), Value::Object(self.parents.clone()));
        }
        Value::Object(members)
    }
}

/// Named values as JSON.
pub(crate) fn named_json(named: &Named) -> Value {
    serde_json::from_str(&dict(named).to_json()).unwrap_or_default()
}

/// What [`named_json`] wrote.
pub(crate) fn named_from_json(value: &Value) -> Named {
    let members = value.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.clone(), Python::from(value))).collect()
}
