//! Changes of a record's shape as a whole: names in another form, everything at one level.

use minijinja::Value;

use super::{components::Plugged, json, session::Session, transform::Record};
use crate::{Error, ErrorKind, RecordTransformation, Result};

/// The record as an embedder's code leaves it.
///
/// # Errors
/// Those of the code.
pub(crate) fn transformed(
    session: &Session,
    slice: &Value,
    custom: &Plugged<dyn RecordTransformation>,
    record: &mut Record,
) -> Result<()> {
    let mut members = serde_json::from_str(&record.text())
        .map_err(|_| Error::new(ErrorKind::Bug, "a record to change is no JSON object"))?;
    let slice = serde_json::to_value(slice).unwrap_or_default();
    custom.part.transform(&mut members, &slice, &session.own_settings())?;
    *record = Record::open(json::Slice::checked(&serde_json::Value::Object(members).to_string()));
    Ok(())
}

/// Replaces `old` in the names of an object and of the objects inside it.
pub(crate) fn with_replaced_keys(text: &str, old: &str, new: &str) -> String {
    let mut record = Record::default();
    for (name, value) in json::Slice::checked(text).members() {
        let value =
            if value.is_object() { with_replaced_keys(value.text(), old, new) } else { value.text().to_owned() };
        let name = if old.is_empty() { name } else { name.replace(old, new) };
        record.set(&name, value);
    }
    record.text()
}

/// `KeysToSnakeCase`: names of the record and of the objects inside it.
pub(crate) fn snake_cased(record: &Record) -> Record {
    let mut out = Record::default();
    for (name, value) in record.parts() {
        let slice = json::Slice::checked(value);
        let value = if slice.is_object() { snake_cased(&Record::open(slice)).text() } else { value.to_owned() };
        out.set(&snake(name), value);
    }
    out
}

/// What a name is made of.
enum Token {
    Letters(String),
    Digits(String),
    Other,
}

fn snake(name: &str) -> String {
    let name = any_ascii::any_ascii(name);
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = name.as_str();
    while let Some(first) = rest.chars().next() {
        let length = |is_in: fn(char) -> bool| rest.find(|found: char| !is_in(found)).unwrap_or(rest.len());
        let (token, used) = match first {
            'A'..='Z' => {
                // Capitals and the small letters behind them.
                let capitals = length(|found| found.is_ascii_uppercase());
                let small = rest[capitals..].find(|found: char| !found.is_ascii_lowercase());
                let end = small.map_or(rest.len(), |small| capitals + small);
                (Token::Letters(rest[..end].to_lowercase()), end)
            }
            'a'..='z' => {
                let end = length(|found| found.is_ascii_lowercase());
                (Token::Letters(rest[..end].to_owned()), end)
            }
            '0'..='9' => {
                let end = length(|found| found.is_ascii_digit());
                (Token::Digits(rest[..end].to_owned()), end)
            }
            _ => (Token::Other, length(|found| !found.is_ascii_alphanumeric())),
        };
        tokens.push(token);
        rest = &rest[used..];
    }
    let last = tokens.len().saturating_sub(1);
    let is_long = tokens.len() >= 3;
    let mut words: Vec<String> = Vec::with_capacity(tokens.len() + 1);
    for (index, token) in tokens.into_iter().enumerate() {
        match token {
            Token::Digits(digits) => {
                if index == 0 {
                    words.push(String::new());
                }
                words.push(digits);
            }
            Token::Letters(letters) => words.push(letters),
            // What is no word counts at both ends alone.
            Token::Other if is_long && index != 0 && index != last => {}
            Token::Other => words.push(String::new()),
        }
    }
    words.join("_")
}

/// `FlattenFields`: every value that holds no others, by its name; by its path where names meet and below lists.
pub(crate) fn flattened(record: &Record, flattens_lists: bool) -> Record {
    let text = record.text();
    let mut open = vec![(json::Slice::checked(&text), "_".to_owned())];
    let mut out = Record::default();
    let mut has_met_list = false;
    while let Some((value, path)) = open.pop() {
        match value.first() {
            b'{' => {
                for (name, value) in value.members() {
                    let is_taken = out.parts().any(|(known, _)| *known == name);
                    let name = if is_taken || has_met_list { format!("{path}.{name}") } else { name };
                    open.push((value, name));
                }
            }
            b'[' if flattens_lists => {
                for (index, item) in value.items().into_iter().enumerate() {
                    has_met_list = true;
                    open.push((item, format!("{path}.{index}")));
                }
            }
            _ => out.set(&path, value.text().to_owned()),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str) -> Record {
        Record::open(json::Slice::checked(text))
    }

    /// Facts taken from the reference's KeysToSnakeCaseTransformation.
    #[test]
    fn names_become_snake_case_as_in_the_reference() {
        let facts = [
            ("FirstName", "first_name"),
            ("HTTPServer2Name", "httpserver_2_name"),
            ("my-field name", "my_field_name"),
            ("_id", "_id"),
            ("id_", "id_"),
            ("2fast", "_2_fast"),
            ("Größe", "grosse"),
            ("a", "a"),
            ("a--b", "a_b"),
            ("-", ""),
            ("", ""),
        ];
        for (name, expected) in facts {
            assert_eq!(snake(name), expected, "{name}");
        }
        let record = snake_cased(&open(r#"{"Ab":{"Cd":[{"Ef":1}]},"X Y":1.50}"#));
        assert_eq!(record.text(), r#"{"ab":{"cd":[{"Ef":1}]},"x_y":1.50}"#);
    }

    /// Facts taken from the reference's FlattenFields.
    #[test]
    fn records_are_flattened_as_in_the_reference() {
        let facts = [
            (r#"{"a":1,"b":{"c":2,"d":{"e":3}}}"#, true, r#"{"e":3,"c":2,"a":1}"#),
            (r#"{"a":{"id":1},"b":{"id":2}}"#, true, r#"{"id":2,"a.id":1}"#),
            (r#"{"a":1,"l":[{"x":1},{"x":2}]}"#, true, r#"{"l.1.x":2,"l.0.x":1,"a":1}"#),
            (r#"{"a":1,"l":[{"x":1}]}"#, false, r#"{"l":[{"x":1}],"a":1}"#),
        ];
        for (text, flattens_lists, expected) in facts {
            assert_eq!(flattened(&open(text), flattens_lists).text(), expected, "{text}");
        }
    }
}
