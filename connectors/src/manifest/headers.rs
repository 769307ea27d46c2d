//! Headers of an answer as templates see them.

use std::sync::Arc;

use minijinja::{
    Value,
    value::{Enumerator, Object, ObjectRepr},
};

use super::super::http::HeaderMap;

/// Headers, found whatever their case; `link` is the parsed `Link` header where pagination looks at it.
#[derive(Debug)]
struct Headers {
    map: HeaderMap,
    links: Option<Value>,
}

/// Headers as they came.
pub(crate) fn plain(map: &HeaderMap) -> Value {
    Value::from_object(Headers { map: map.clone(), links: None })
}

/// Headers with `link` parsed into relations.
pub(crate) fn with_links(map: &HeaderMap) -> Value {
    let text = map.get_all("link").iter().filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(", ");
    Value::from_object(Headers { map: map.clone(), links: Some(links(&text)) })
}

impl Object for Headers {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        if key == "link" && self.links.is_some() {
            return self.links.clone();
        }
        let values: Vec<&str> = self.map.get_all(key).iter().filter_map(|value| value.to_str().ok()).collect();
        if values.is_empty() { None } else { Some(Value::from(values.join(", "))) }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.map.keys().map(|name| Value::from(name.as_str())).collect())
    }
}

/// `<url>; rel="next"; results="true", …` as relation -> {url, rel, …}.
fn links(text: &str) -> Value {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while let Some(start) = rest.find('<') {
        let Some(end) = rest[start..].find('>').map(|end| start + end) else { break };
        let url = rest[start + 1..end].to_owned();
        let after = &rest[end + 1..];
        let next = after.find(", <").or_else(|| after.find(",<")).unwrap_or(after.len());
        let mut parts = vec![("url".to_owned(), url.clone())];
        for parameter in after[..next].split(';') {
            if let Some((name, value)) = parameter.split_once('=') {
                let clean = |text: &str| text.trim_matches([' ', '\'', '"', ',']).to_owned();
                parts.push((clean(name), clean(value)));
            }
        }
        let name = parts.iter().find(|(name, _)| name == "rel").map_or(url, |(_, rel)| rel.clone());
        found.push((name, Value::from_pairs(parts)));
        rest = &after[next..];
    }
    Value::from_pairs(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_header_is_found_by_relation() {
        let parsed = links(
            r#"<https://a.example/?p=1,2>; rel="previous"; results="false", <https://a.example/?p=3>; rel="next""#,
        );
        let at = |relation: &str, name: &str| parsed.get_attr(relation).unwrap().get_attr(name).unwrap().to_string();
        assert_eq!(at("next", "url"), "https://a.example/?p=3");
        assert_eq!(at("previous", "results"), "false");
        assert_eq!(at("previous", "url"), "https://a.example/?p=1,2");
    }

    #[test]
    fn headers_are_found_whatever_their_case() {
        let mut map = HeaderMap::new();
        map.insert("x-next", http::HeaderValue::from_static("5"));
        assert_eq!(plain(&map).get_attr("X-Next").unwrap().to_string(), "5");
    }

    use crate::http;
}
