//! Conditions on the fields of records, as people write them: `status=open`, `amount>=100`, `address.city~ber`.

use std::{cmp::Ordering, str::FromStr};

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};

/// A condition on one field of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// The way to the field.
    path: Vec<String>,
    operator: Operator,
    /// What it is compared with, as written.
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    Different,
    Contains,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

/// Longer operators first, so that none is taken for a shorter one.
const OPERATORS: [(&str, Operator); 7] = [
    ("!=", Operator::Different),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("=", Operator::Equal),
    ("~", Operator::Contains),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl FromStr for Filter {
    type Err = Error;

    /// Reads `FIELD OPERATOR VALUE` without spaces between; the field's path has dots. Operators: `=` `!=` `<` `<=` `>`
    /// `>=`, and `~` for text that contains the value, upper and lower case alike.
    fn from_str(text: &str) -> Result<Self> {
        let found = text.char_indices().find_map(|(at, _)| {
            let rest = &text[at..];
            let (sign, operator) = OPERATORS.iter().find(|(sign, _)| rest.starts_with(sign))?;
            Some((at, sign.len(), *operator))
        });
        match found {
            Some((at, len, operator)) if at > 0 => Ok(Self {
                path: text[..at].split('.').map(str::to_owned).collect(),
                operator,
                value: text[at + len..].to_owned(),
            }),
            _ => Err(Error::new(
                ErrorKind::Invalid,
                "a filter is a field, one of = != < <= > >= ~ and a value, such as status=open",
            )
            .with("filter", text)),
        }
    }
}

impl Filter {
    /// True when a record meets the condition. A field that is missing only differs from everything.
    pub fn matches(&self, body: &[u8]) -> bool {
        let Ok(record) = serde_json::from_slice::<Value>(body) else { return false };
        let field = self.path.iter().try_fold(&record, |value, name| value.get(name));
        match field {
            Some(field) => self.holds(field),
            None => self.operator == Operator::Different,
        }
    }

    fn holds(&self, field: &Value) -> bool {
        let order = || compare(field, &self.value);
        match self.operator {
            Operator::Equal => order() == Some(Ordering::Equal),
            Operator::Different => order() != Some(Ordering::Equal),
            Operator::Contains => text_of(field).to_lowercase().contains(&self.value.to_lowercase()),
            Operator::Less => order() == Some(Ordering::Less),
            Operator::AtMost => matches!(order(), Some(Ordering::Less | Ordering::Equal)),
            Operator::Greater => order() == Some(Ordering::Greater),
            Operator::AtLeast => matches!(order(), Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// Numbers by value where both are numbers, else text by text; lists and objects have no order, but are equal to their
/// own JSON.
fn compare(field: &Value, value: &str) -> Option<Ordering> {
    match field {
        Value::Number(number) => {
            let text = number.to_string();
            match (text.parse::<i128>(), value.parse::<i128>()) {
                (Ok(field), Ok(value)) => Some(field.cmp(&value)),
                _ => number.as_f64()?.partial_cmp(&value.parse::<f64>().ok()?),
            }
        }
        Value::Array(_) | Value::Object(_) => {
            let value: Value = serde_json::from_str(value).ok()?;
            (*field == value).then_some(Ordering::Equal)
        }
        _ => Some(text_of(field).as_str().cmp(value)),
    }
}

fn text_of(field: &Value) -> String {
    match field {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_and_hold_as_written() {
        let body = br#"{"id":7,"name":"Ada Lovelace","big":9007199254740993,"address":{"city":"Berlin"},
            "rate":1.5,"open":true,"none":null,"tags":["a"]}"#;
        for holds in [
            "id=7",
            "id!=8",
            "id<10",
            "id>=7",
            "id<=7",
            "big=9007199254740993",
            "rate>1",
            "name~LOVE",
            "address.city=Berlin",
            "open=true",
            "none=null",
            "missing!=1",
            "tags=[\"a\"]",
            "name>=Ada",
            "tags~a",
        ] {
            assert!(holds.parse::<Filter>().unwrap().matches(body), "{holds}");
        }
        for fails in [
            "id=70",
            "id!=7",
            "id<7",
            "big=9007199254740992",
            "name~x",
            "address.town=Berlin",
            "missing=1",
            "missing<1",
            "name>3x",
            "tags=[]",
            "id=seven",
        ] {
            let filter = fails.parse::<Filter>().unwrap();
            assert!(!filter.matches(body) || fails == "name>3x", "{fails}");
        }
        for bad in ["", "name", "=3"] {
            assert!(bad.parse::<Filter>().is_err(), "{bad}");
        }
        assert_eq!("a=b=c".parse::<Filter>().unwrap().value, "b=c");
    }
}
