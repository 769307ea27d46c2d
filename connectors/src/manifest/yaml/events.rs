//! Parser events into nodes: anchors, aliases, merge keys.

use std::{collections::HashMap, sync::Arc};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, Tag};

use super::{Data, MAX_DEPTH, Node, Place, scalar};
use crate::Problem;

/// A list or mapping that is still open.
enum Open {
    List { items: Vec<Arc<Node>>, place: Place, anchor: usize },
    Map { members: Vec<(Arc<str>, Arc<Node>)>, key: Option<Key>, place: Place, anchor: usize },
}

enum Key {
    Name(Arc<str>),
    /// `<<`: the value's members are merged in, own members win.
    Merge,
}

struct Builder {
    open: Vec<Open>,
    anchors: HashMap<usize, Arc<Node>>,
    root: Option<Arc<Node>>,
}

/// Reads one YAML document.
///
/// # Errors
/// The first thing that is not YAML, with its place.
pub(crate) fn parse(text: &str) -> Result<Arc<Node>, Problem> {
    let mut builder = Builder { open: Vec::new(), anchors: HashMap::new(), root: None };
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| problem(place(error.marker()), format!("not YAML: {}", error.info())))?;
        builder.take(event, span)?;
        if builder.root.is_some() {
            break;
        }
    }
    builder.root.ok_or_else(|| problem(Place { line: 1, column: 1 }, "the manifest is empty".into()))
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line() as u32, column: marker.col() as u32 + 1 }
}

fn too_deep(place: Place) -> Problem {
    problem(place, format!("nested deeper than {MAX_DEPTH} levels"))
}

fn problem(place: Place, message: String) -> Problem {
    Problem { place: format!("{}:{}", place.line, place.column), message }
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let at = place(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_merge = style == ScalarStyle::Plain && text == "<<";
                if is_merge && self.expects_key() {
                    self.set_key(Key::Merge);
                    return Ok(());
                }
                self.finish(Node::new(read_scalar(&text, style, tag.as_deref()), at), anchor)
            }
            Event::Alias(id) => {
                let node = self.anchors.get(&id).cloned();
                let node = node.ok_or_else(|| problem(at, "an alias inside its own anchor, or without one".into()))?;
                self.finish(node, 0)
            }
            Event::SequenceStart(anchor, _) => self.start(Open::List { items: Vec::new(), place: at, anchor }, at),
            Event::MappingStart(anchor, _) => {
                self.start(Open::Map { members: Vec::new(), key: None, place: at, anchor }, at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {
                Ok(())
            }
        }
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Map { key: None, .. }))
    }

    fn set_key(&mut self, new: Key) {
        if let Some(Open::Map { key, .. }) = self.open.last_mut() {
            *key = Some(new);
        }
    }

    fn start(&mut self, open: Open, at: Place) -> Result<(), Problem> {
        if self.open.len() >= MAX_DEPTH as usize {
            return Err(too_deep(at));
        }
        self.open.push(open);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let (node, anchor) = match self.open.pop() {
            Some(Open::List { items, place, anchor }) => (Node::new(Data::List(items), place), anchor),
            Some(Open::Map { members, place, anchor, .. }) => (Node::new(Data::Map(last_wins(members)), place), anchor),
            None => return Ok(()),
        };
        self.finish(node, anchor)
    }

    fn finish(&mut self, node: Arc<Node>, anchor: usize) -> Result<(), Problem> {
        // Aliases nest as well.
        if node.depth > MAX_DEPTH {
            return Err(too_deep(node.place));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, Arc::clone(&node));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::List { items, .. }) => items.push(node),
            Some(Open::Map { members, key, .. }) => match key.take() {
                None => *key = Some(Key::Name(key_text(&node)?)),
                Some(Key::Name(name)) => members.push((name, node)),
                Some(Key::Merge) => merge(members, &node)?,
            },
        }
        Ok(())
    }
}

/// Merged members go first, so that the mapping's own ones, before or after `<<`, win.
fn merge(members: &mut Vec<(Arc<str>, Arc<Node>)>, node: &Arc<Node>) -> Result<(), Problem> {
    let sources: Vec<&Arc<Node>> = match &node.data {
        Data::List(items) => items.iter().rev().collect(),
        _ => vec![node],
    };
    let mut merged = Vec::new();
    for source in sources {
        let Data::Map(inner) = &source.data else {
            return Err(problem(source.place, format!("`<<` needs a mapping to merge, found {}", source.kind())));
        };
        merged.extend(inner.iter().cloned());
    }
    members.splice(0..0, merged);
    Ok(())
}

/// A repeated key keeps its first place and takes its last value, as in Python.
fn last_wins(members: Vec<(Arc<str>, Arc<Node>)>) -> Vec<(Arc<str>, Arc<Node>)> {
    let mut places: HashMap<Arc<str>, usize> = HashMap::with_capacity(members.len());
    let mut kept: Vec<(Arc<str>, Arc<Node>)> = Vec::with_capacity(members.len());
    for (key, node) in members {
        match places.get(&key) {
            Some(&at) => kept[at].1 = node,
            None => {
                places.insert(Arc::clone(&key), kept.len());
                kept.push((key, node));
            }
        }
    }
    kept
}

/// A key as JSON names it.
fn key_text(node: &Node) -> Result<Arc<str>, Problem> {
    match &node.data {
        Data::Text(text) => Ok(Arc::clone(text)),
        Data::Null => Ok("null".into()),
        Data::Bool(value) => Ok(value.to_string().into()),
        Data::Int(value) => Ok(value.to_string().into()),
        Data::Float(value) => Ok(format!("{value:?}").into()),
        Data::List(_) | Data::Map(_) => Err(problem(node.place, "a key must be text or a number".into())),
    }
}

fn read_scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Data {
    let tag = tag.filter(|tag| tag.is_yaml_core_schema()).map(|tag| tag.suffix.as_str());
    match (style, tag) {
        (_, Some("str")) => Data::Text(text.into()),
        (ScalarStyle::Plain, _) | (_, Some("int" | "float" | "bool" | "null")) => scalar::plain(text),
        _ => Data::Text(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        parse(text).unwrap().to_json().to_string()
    }

    #[test]
    fn merge_keys_give_way_to_own_members_and_to_earlier_sources() {
        let text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {y: 9, <<: [*a, *b], z: 3}\n";
        assert_eq!(json(text), r#"{"a":{"x":1,"y":1},"b":{"y":2,"z":2},"c":{"y":9,"z":3,"x":1}}"#);
    }

    #[test]
    fn quoted_scalars_stay_text_and_nodes_know_their_place() {
        let root = parse("a: \"12\"\nb:\n  - 'yes'\n  - |\n    x\n").unwrap();
        assert_eq!(root.to_json().to_string(), r#"{"a":"12","b":["yes","x\n"]}"#);
        let Data::List(items) = &root.get("b").unwrap().data else { panic!("a list") };
        assert_eq!(items[0].place, Place { line: 3, column: 5 });
    }

    #[test]
    fn what_is_not_yaml_is_named_with_its_line() {
        let error = parse("a: [1, 2\nb: }\n").unwrap_err();
        assert!(error.place.starts_with("2:"), "{error}");
    }
}
