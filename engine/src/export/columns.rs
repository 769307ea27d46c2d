//! Which columns a stream has: the shape of all its records, found in a first pass. Its size is bounded, whatever the
//! records are.

use super::{
    members::Members,
    number,
    text::{self, elements, members},
};

/// Fields that get a place of their own, at all depths together. What comes later is gathered in [`REST`] columns.
pub(super) const FIELDS_MAX: usize = 2_000;
/// Longer names, in bytes, are gathered too.
const NAME_BYTES_MAX: usize = 1_024;
/// Objects and arrays nested deeper stay JSON text.
pub(super) const DEPTH_MAX: usize = 32;
/// A field in which one record has more values in arrays stays JSON text.
const ELEMENTS_MAX: usize = 10_000;
/// Name of the column with all members of an object that have none, as one JSON object.
pub(super) const REST: &str = "_other";

/// Kinds of values seen at one place, null apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u16);

impl Kinds {
    pub(super) const BOOL: Self = Self(1);
    /// An integer that a double holds exactly, as do all below it.
    pub(super) const SMALL: Self = Self(1 << 1);
    /// Another integer of 64 bits.
    pub(super) const INTEGER: Self = Self(1 << 2);
    /// A number with point or exponent that a double holds.
    pub(super) const FLOAT: Self = Self(1 << 3);
    /// A number that neither holds.
    pub(super) const NUMBER: Self = Self(1 << 4);
    pub(super) const STRING: Self = Self(1 << 5);
    /// A string that is no Unicode text.
    pub(super) const ODD_STRING: Self = Self(1 << 6);
    pub(super) const ARRAY: Self = Self(1 << 7);
    /// An object with members.
    pub(super) const OBJECT: Self = Self(1 << 8);
    pub(super) const EMPTY_OBJECT: Self = Self(1 << 9);
    /// An object or array that is not looked into.
    pub(super) const OPAQUE: Self = Self(1 << 10);

    /// Both.
    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True when there are none but `others`.
    pub(super) fn are_within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }

    /// True when there is one of `others`.
    pub(super) fn have(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What was seen at one place of the records.
#[derive(Default)]
pub(super) struct Shape {
    pub(super) kinds: Kinds,
    /// Of its objects.
    pub(super) members: Members<Shape>,
    /// True when some members have no place of their own.
    pub(super) has_rest: bool,
    /// Of its arrays, when these are looked into.
    pub(super) element: Option<Box<Shape>>,
}

/// Looks at records, one after another.
pub(super) struct Survey {
    root: Shape,
    looks_into_arrays: bool,
    fields_left: usize,
    /// Arrays around the value at hand.
    array_depth: usize,
    /// Values seen in the outermost of them.
    elements: usize,
}

impl Survey {
    /// Of a stream with this primary key, whose fields come first and are there even if no record is.
    pub(super) fn new(primary_key: &[Vec<String>], looks_into_arrays: bool) -> Self {
        let root = Shape::default();
        let mut survey = Self { root, looks_into_arrays, fields_left: FIELDS_MAX, array_depth: 0, elements: 0 };
        for name in primary_key.iter().filter_map(|path| path.first()) {
            if survey.root.members.get(name).is_none() && survey.has_room(name) {
                survey.root.members.insert(name, Shape::default());
            }
        }
        survey
    }

    /// Looks at a record.
    pub(super) fn add(&mut self, record: &str) {
        let mut root = std::mem::take(&mut self.root);
        self.object(&mut root, record, 0);
        self.root = root;
    }

    /// What was seen. Without any member there is a place for the rest, so that there is a column.
    pub(super) fn finish(mut self) -> Shape {
        self.root.has_rest |= self.root.members.len() == 0;
        self.root
    }

    fn value(&mut self, shape: &mut Shape, value: &str, depth: usize) {
        let kinds = match value.as_bytes().first() {
            Some(b'{') => return self.object_or_text(shape, value, depth),
            Some(b'[') => return self.array(shape, value, depth),
            Some(b'"') if text::decode(value).is_some() => Kinds::STRING,
            Some(b'"') => Kinds::ODD_STRING,
            Some(b't' | b'f') => Kinds::BOOL,
            Some(b'n') => Kinds::default(),
            _ => number::kind(value),
        };
        shape.kinds.add(kinds);
    }

    fn object_or_text(&mut self, shape: &mut Shape, value: &str, depth: usize) {
        if text::is_empty(value) {
            shape.kinds.add(Kinds::EMPTY_OBJECT);
        } else if depth >= DEPTH_MAX {
            shape.kinds.add(Kinds::OPAQUE);
        } else {
            shape.kinds.add(Kinds::OBJECT);
            self.object(shape, value, depth);
        }
    }

    fn object(&mut self, shape: &mut Shape, object: &str, depth: usize) {
        shape.members.begin();
        for (name, value) in members(object) {
            let member = match shape.members.find(&text::name(name)) {
                Ok(member) => member,
                Err(Some(name)) if self.has_room(&name) => shape.members.insert(&name, Shape::default()),
                Err(_) => {
                    shape.has_rest = true;
                    continue;
                }
            };
            self.value(member, value, depth + 1);
        }
    }

    fn array(&mut self, shape: &mut Shape, array: &str, depth: usize) {
        shape.kinds.add(Kinds::ARRAY);
        if !self.looks_into_arrays || shape.kinds.have(Kinds::OPAQUE) {
            return;
        }
        if self.array_depth == 0 {
            self.elements = 0;
        }
        self.array_depth += 1;
        let mut element = shape.element.take().unwrap_or_default();
        for value in elements(array) {
            self.elements += 1;
            if self.elements > ELEMENTS_MAX || depth >= DEPTH_MAX {
                shape.kinds.add(Kinds::OPAQUE);
                break;
            }
            self.value(&mut element, value, depth + 1);
        }
        self.array_depth -= 1;
        shape.element = Some(element);
    }

    fn has_room(&mut self, name: &str) -> bool {
        let has_room = self.fields_left > 0 && name.len() <= NAME_BYTES_MAX;
        self.fields_left -= usize::from(has_room);
        has_room
    }
}
