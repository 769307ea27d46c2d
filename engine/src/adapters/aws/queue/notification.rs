//! What a bucket tells the data queue of new objects, in the engine's words.
//!
//! S3 sends `{"Records": [{"s3": {"object": {"key": …}}}]}`, keys as in the query of an address, and once
//! `{"Event": "s3:TestEvent"}` for a new notification. The engine knows `{"path": …}`.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>

use serde_json::{Value, json};
use url::form_urlencoded;

/// A message of the data queue.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    /// The engine's own, or nobody's: as it is.
    Plain,
    /// Of new objects; none of them may be ours.
    Objects(Vec<Value>),
}

/// What a message tells; objects that are not below the prefix are somebody else's.
pub(super) fn told(body: &Value, key_prefix: &str) -> Told {
    if body.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
        return Told::Objects(Vec::new());
    }
    let Some(records) = body.get("Records").and_then(Value::as_array) else { return Told::Plain };
    let keys: Option<Vec<String>> = records.iter().map(key).collect();
    let Some(keys) = keys else { return Told::Plain };
    let paths = keys.iter().filter_map(|key| key.strip_prefix(key_prefix));
    Told::Objects(paths.map(|path| json!({ "path": path })).collect())
}

fn key(record: &Value) -> Option<String> {
    let encoded = record.pointer("/s3/object/key")?.as_str()?;
    let query = format!("key={encoded}");
    form_urlencoded::parse(query.as_bytes()).next().map(|(_, key)| key.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(keys: &[&str]) -> Value {
        let records: Vec<Value> = keys.iter().map(|key| json!({ "s3": { "object": { "key": key } } })).collect();
        json!({ "Records": records })
    }

    #[test]
    fn new_objects_below_the_prefix_are_told_by_their_paths() {
        let body = notification(&["below/a/x+y%2Bz%26%3D%C3%A4.snap", "elsewhere/b.snap", "below/c.snap"]);
        let expected = vec![json!({ "path": "a/x y+z&=ä.snap" }), json!({ "path": "c.snap" })];
        assert_eq!(told(&body, "below/"), Told::Objects(expected));
    }

    #[test]
    fn the_proof_of_a_new_notification_tells_of_no_object() {
        assert_eq!(told(&json!({ "Service": "Amazon S3", "Event": "s3:TestEvent" }), ""), Told::Objects(Vec::new()));
    }

    #[test]
    fn what_is_no_notification_stays_as_it_is() {
        for body in [json!({ "path": "a.snap" }), json!("text"), json!({ "Records": [{}] }), json!({ "Records": 1 })] {
            assert_eq!(told(&body, ""), Told::Plain, "{body}");
        }
    }
}
