//! The order in which streams are restored: what others refer to comes first.

use std::collections::BTreeSet;

use listbackup_connectors::StreamSpec;

/// The streams in the order in which they are restored. In a circle of references the stream with the fewest that are
/// still open comes first; its references are set at the end.
pub(super) fn sequence<'a>(streams: impl IntoIterator<Item = &'a StreamSpec>) -> Vec<&'a StreamSpec> {
    let mut waiting: Vec<&StreamSpec> = streams.into_iter().collect();
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let names: BTreeSet<&str> = waiting.iter().map(|stream| stream.name.as_str()).collect();
        let open = |stream: &StreamSpec| {
            let referred = stream.write.iter().flat_map(|write| &write.references).map(|reference| &reference.stream);
            let needed: BTreeSet<&str> = referred.chain(&stream.parents).map(String::as_str).collect();
            needed.iter().filter(|name| **name != stream.name && names.contains(*name)).count()
        };
        let next = (0..waiting.len()).min_by_key(|index| open(waiting[*index])).unwrap_or_default();
        ordered.push(waiting.remove(next));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use listbackup_connectors::{Deletions, Reference, WriteSpec};
    use serde_json::json;

    use super::*;

    fn stream(name: &str, refers_to: &[&str]) -> StreamSpec {
        let references = refers_to
            .iter()
            .map(|stream| Reference { field: vec![format!("{stream}_id")], stream: (*stream).to_owned() })
            .collect();
        StreamSpec {
            name: name.to_owned(),
            primary_key: vec![vec!["id".to_owned()]],
            cursor_field: Vec::new(),
            json_schema: json!({}),
            parents: Vec::new(),
            deletions: Deletions::Absence,
            write: Some(WriteSpec { references, ..WriteSpec::default() }),
        }
    }

    fn names(streams: &[StreamSpec]) -> Vec<&str> {
        sequence(streams).into_iter().map(|stream| stream.name.as_str()).collect()
    }

    #[test]
    fn what_others_refer_to_comes_first() {
        let streams = [stream("deals", &["contacts", "companies"]), stream("contacts", &["companies"])];
        assert_eq!(names(&streams), ["contacts", "deals"]);
        let streams = [stream("c", &["b", "c", "elsewhere"]), stream("b", &["a"]), stream("a", &[])];
        assert_eq!(names(&streams), ["a", "b", "c"]);
    }

    #[test]
    fn a_circle_is_broken_and_what_hangs_on_it_comes_after() {
        let streams = [stream("deals", &["a", "b"]), stream("a", &["b"]), stream("b", &["a"])];
        assert_eq!(names(&streams), ["a", "b", "deals"]);
    }
}
