//! Expressions: what must hold for a write, and what it changes, in DynamoDB's language.
//!
//! Every name goes through a placeholder: some of ours (`path`, `timestamp`, `sequence`) are words of the language.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;

use super::item;
use crate::{
    adapters::rows::{Reach, Scalar},
    ports::Condition,
    tables::TableSchema,
};

/// Texts of expressions with the names and values that they use.
#[derive(Debug, Default)]
pub(super) struct Expression {
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expression {
    /// The placeholder of an attribute.
    pub(super) fn name(&mut self, attribute: &str) -> String {
        let placeholder = format!("#{attribute}");
        self.names.insert(placeholder.clone(), attribute.to_owned());
        placeholder
    }

    /// The placeholder of a value.
    pub(super) fn value(&mut self, name: &str, value: AttributeValue) -> String {
        let placeholder = format!(":{name}");
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    fn number(&mut self, name: &str, number: impl Into<i128>) -> String {
        self.value(name, AttributeValue::N(number.into().to_string()))
    }

    /// All names; an empty map is refused.
    pub(super) fn names(&self) -> Option<HashMap<String, String>> {
        (!self.names.is_empty()).then(|| self.names.clone())
    }

    /// All values; an empty map is refused.
    pub(super) fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }

    /// What must hold of the item for a write: the condition, and that the row is within reach. `None` for nothing.
    pub(super) fn condition(
        &mut self,
        table: &TableSchema,
        condition: Condition,
        reach: &Reach,
        now_s: i64,
    ) -> Option<String> {
        match condition {
            Condition::Any => {
                let own = self.own(reach)?;
                Some(format!("{} OR {own}", self.absent(table, now_s)))
            }
            // Whose the row is that is there all the same, the answer tells.
            Condition::Absent => Some(self.absent(table, now_s)),
            Condition::Version(version) => {
                let expected = self.number("expected", version);
                let mut all = vec![format!("{} = {expected}", self.name(item::VERSION))];
                all.extend(self.own(reach));
                all.extend(self.live(table, now_s));
                Some(all.join(" AND "))
            }
        }
    }

    fn own(&mut self, reach: &Reach) -> Option<String> {
        let Reach::Account(id) = reach else { return None };
        let own = self.value("own", AttributeValue::S(id.clone()));
        Some(format!("{} = {own}", self.name(item::ACCOUNT)))
    }

    /// A row past its expiry counts as absent.
    fn absent(&mut self, table: &TableSchema, now_s: i64) -> String {
        let absent = format!("attribute_not_exists({})", self.name(table.partition.name));
        match table.expires {
            None => absent,
            Some(expires) => format!("{absent} OR {} <= {}", self.name(expires), self.number("now", now_s)),
        }
    }

    fn live(&mut self, table: &TableSchema, now_s: i64) -> Option<String> {
        let expires = self.name(table.expires?);
        Some(format!("(attribute_not_exists({expires}) OR {expires} > {})", self.number("now", now_s)))
    }

    /// What a put changes: sets the given attributes that have a value, removes the others, and counts the version up.
    pub(super) fn update(
        &mut self,
        texts: [(&str, &str); 2],
        copied: &BTreeMap<&'static str, Option<Scalar>>,
        condition: Condition,
    ) -> String {
        let version = self.name(item::VERSION);
        let next = match next_version(condition) {
            Some(next) => self.number("next", next),
            None => format!("if_not_exists({version}, {}) + {}", self.number("none", 0), self.number("one", 1)),
        };
        let mut set = vec![format!("{version} = {next}")];
        for (name, text) in texts {
            set.push(format!("{} = {}", self.name(name), self.value(name, AttributeValue::S(text.to_owned()))));
        }
        let mut remove = Vec::new();
        for (name, scalar) in copied {
            match scalar {
                Some(scalar) => set.push(format!("{} = {}", self.name(name), self.value(name, item::value(scalar)))),
                None => remove.push(self.name(name)),
            }
        }
        let mut update = format!("SET {}", set.join(", "));
        if !remove.is_empty() {
            update = format!("{update} REMOVE {}", remove.join(", "));
        }
        update
    }
}

/// The version of a row that was put under a condition; `None` when the condition does not tell.
pub(super) fn next_version(condition: Condition) -> Option<u64> {
    match condition {
        Condition::Any => None,
        Condition::Absent => Some(1),
        Condition::Version(version) => Some(version.saturating_add(1)),
    }
}
