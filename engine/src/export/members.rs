//! The members that objects at one place have: found by name, in the order of their first appearance. Records mostly
//! have the same members in the same order, so the next one is tried before the others.

use std::collections::HashMap;

/// A name that one object repeats more often is no member any more.
const REPEATS_MAX: usize = 16;

/// Members by name.
pub(super) struct Members<T> {
    list: Vec<Member<T>>,
    places: HashMap<Box<str>, usize>,
    /// The object being looked at; each has another number.
    round: u64,
    next: usize,
}

struct Member<T> {
    name: Box<str>,
    value: T,
    /// The last object that had it.
    round: u64,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self { list: Vec::new(), places: HashMap::new(), round: 0, next: 0 }
    }
}

impl<T> Members<T> {
    /// The same members with other values.
    pub(super) fn map<U>(self, mut turn: impl FnMut(&str, T) -> U) -> Members<U> {
        let list = self.list.into_iter().map(|Member { name, value, round }| {
            let value = turn(&name, value);
            Member { name, value, round }
        });
        Members { list: list.collect(), places: self.places, round: self.round, next: 0 }
    }

    /// How many.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// All, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.list.iter().map(|member| (&*member.name, &member.value))
    }

    /// All values, in order.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.list.iter_mut().map(|member| &mut member.value)
    }

    /// The value of a name.
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.places.get(name).map(|place| &self.list[*place].value)
    }

    /// Begins with another object.
    pub(super) fn begin(&mut self) {
        self.round += 1;
        self.next = 0;
    }

    /// The member that `name` stands for in this object. A name that the object had before stands for `name (2)` now,
    /// then for `name (3)`. `Err` holds the name when there is no such member, and nothing when there cannot be one.
    pub(super) fn find(&mut self, name: &str) -> Result<&mut T, Option<String>> {
        if let Some(member) = self.list.get(self.next)
            && *member.name == *name
            && member.round != self.round
        {
            return Ok(self.take(self.next));
        }
        let mut wanted = name.to_owned();
        for repeat in 2..=REPEATS_MAX {
            match self.places.get(&*wanted) {
                None => return Err(Some(wanted)),
                Some(place) if self.list[*place].round != self.round => return Ok(self.take(*place)),
                Some(_) => wanted = format!("{name} ({repeat})"),
            }
        }
        Err(None)
    }

    /// Adds a member that the object at hand has.
    pub(super) fn insert(&mut self, name: &str, value: T) -> &mut T {
        let place = self.list.len();
        self.places.insert(name.into(), place);
        self.list.push(Member { name: name.into(), value, round: self.round });
        self.take(place)
    }

    /// The members that this object does not have.
    pub(super) fn missing(&mut self) -> impl Iterator<Item = &mut T> {
        let round = self.round;
        self.list.iter_mut().filter(move |member| member.round != round).map(|member| &mut member.value)
    }

    fn take(&mut self, place: usize) -> &mut T {
        self.next = place + 1;
        let member = &mut self.list[place];
        member.round = self.round;
        &mut member.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_name_is_another_member() {
        let mut members = Members::default();
        for round in 0..3 {
            members.begin();
            for (n, (name, expected)) in [("a", "a"), ("b", "b"), ("a", "a (2)"), ("a", "a (3)")].iter().enumerate() {
                match members.find(name) {
                    Ok(found) => assert_eq!((*found, round > 0), (n, true)),
                    Err(missing) => {
                        assert_eq!((missing.as_deref(), round), (Some(*expected), 0));
                        members.insert(expected, n);
                    }
                }
            }
        }
        members.begin();
        assert_eq!(members.find("b").map(|found| *found), Ok(1));
        assert_eq!(members.missing().map(|value| *value).collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!(members.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b", "a (2)", "a (3)"]);
    }

    #[test]
    fn a_name_without_end_is_none_any_more() {
        let mut members = Members::default();
        members.begin();
        let mut made = 0;
        while let Err(Some(name)) = members.find("a") {
            members.insert(&name, ());
            made += 1;
        }
        assert_eq!(made, REPEATS_MAX - 1);
    }
}
