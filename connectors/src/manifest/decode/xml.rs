//! XML as `xmltodict` reads it: elements are members, attributes begin with `@`, text beside either is `#text`.

use bytes::Bytes;
use quick_xml::{
    Reader,
    escape::resolve_xml_entity,
    events::{BytesStart, Event},
};

use super::super::template::Python;
use crate::{Error, ErrorKind, Result};

/// Deeper nesting than this is refused, as in JSON.
const MAX_DEPTH: usize = 256;

/// An element that is open.
#[derive(Default)]
struct Element {
    name: String,
    members: Vec<(Python, Python)>,
    text: String,
}

/// The document as one JSON object.
///
/// # Errors
/// `BadAnswer` when it is not well formed.
pub(super) fn decode(body: &Bytes) -> Result<Bytes> {
    let text = std::str::from_utf8(body).map_err(|_| wrong("it is not UTF-8"))?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut open = vec![Element::default()];
    loop {
        match reader.read_event().map_err(|error| wrong(&error.to_string()))? {
            Event::Start(start) => open.push(element(&start)?),
            Event::Empty(start) => {
                open.push(element(&start)?);
                close(&mut open);
            }
            Event::End(_) => close(&mut open),
            Event::Text(text) => add(&mut open, &text.xml_content().map_err(|error| wrong(&error.to_string()))?)?,
            Event::CData(text) => add(&mut open, &text.xml_content().map_err(|error| wrong(&error.to_string()))?)?,
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|error| wrong(&error.to_string()))?;
                let name = reference.decode().map_err(|error| wrong(&error.to_string()))?;
                match (character, resolve_xml_entity(&name)) {
                    (Some(character), _) => add(&mut open, character.encode_utf8(&mut [0; 4]))?,
                    (None, Some(text)) => add(&mut open, text)?,
                    (None, None) => return Err(wrong(&format!("it uses the unknown entity `{name}`"))),
                }
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
        if open.len() > MAX_DEPTH {
            return Err(wrong("it is nested too deeply"));
        }
    }
    match open.pop() {
        Some(root) if open.is_empty() && root.members.len() == 1 => {
            Ok(Bytes::from(Python::Dict(root.members).to_json()))
        }
        _ => Err(wrong("it has no single element around everything, or ends in the middle")),
    }
}

fn wrong(reason: &str) -> Error {
    Error::new(ErrorKind::BadAnswer, format!("the answer is not XML: {reason}"))
}

fn element(start: &BytesStart<'_>) -> Result<Element> {
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| wrong("a name is not UTF-8"));
    let mut members = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| wrong(&error.to_string()))?;
        let value = attribute.unescape_value().map_err(|error| wrong(&error.to_string()))?;
        members.push((Python::Text(format!("@{}", text(attribute.key.as_ref())?)), Python::Text(value.into_owned())));
    }
    Ok(Element { name: text(start.name().as_ref())?, members, text: String::new() })
}

fn add(open: &mut [Element], text: &str) -> Result<()> {
    match open {
        [root] if root.members.is_empty() && !text.trim().is_empty() => {
            Err(wrong("text stands before the first element"))
        }
        [_] if !text.trim().is_empty() => Err(wrong("text stands behind the last element")),
        [.., last] => {
            last.text.push_str(text);
            Ok(())
        }
        [] => Ok(()),
    }
}

/// Ends the innermost element: its text alone, or its members with the text among them.
fn close(open: &mut Vec<Element>) {
    let Some(mut element) = open.pop() else { return };
    let text = element.text.trim();
    let value = match (element.members.is_empty(), text.is_empty()) {
        (true, true) => Python::None,
        (true, false) => Python::Text(text.to_owned()),
        (false, true) => Python::Dict(element.members),
        (false, false) => {
            push(&mut element.members, "#text", Python::Text(text.to_owned()));
            Python::Dict(element.members)
        }
    };
    if let Some(outer) = open.last_mut() {
        push(&mut outer.members, &element.name, value);
    }
}

/// A member that comes again makes a list.
fn push(members: &mut Vec<(Python, Python)>, name: &str, value: Python) {
    match members.iter_mut().find(|(known, _)| matches!(known, Python::Text(known) if known == name)) {
        None => members.push((Python::Text(name.to_owned()), value)),
        Some((_, Python::List(items))) => items.push(value),
        Some((_, present)) => {
            let first = std::mem::replace(present, Python::None);
            *present = Python::List(vec![first, value]);
        }
    }
}
