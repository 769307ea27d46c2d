//! Random JSON, as text and as what it says.

use listbackup_engine::export::Format;
use proptest::prelude::*;

use super::world::{contacts, export, records};

/// A value; numbers are their text.
#[derive(Clone, Debug)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// As a product sends it.
    pub fn text(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(text) => text.clone(),
            Self::String(text) => serde_json::to_string(text).unwrap(),
            Self::Array(values) => format!("[{}]", values.iter().map(Self::text).collect::<Vec<_>>().join(", ")),
            Self::Object(members) => format!("{{{}}}", members_text(members)),
        }
    }
}

/// Members without the brackets.
pub fn members_text(members: &[(String, Json)]) -> String {
    let member = |(name, value): &(String, Json)| format!("{}: {}", serde_json::to_string(name).unwrap(), value.text());
    members.iter().map(member).collect::<Vec<_>>().join(",")
}

fn number() -> impl Strategy<Value = Json> {
    let text = prop_oneof![
        4 => (-20i64..20).prop_map(|number| number.to_string()),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => "-?[1-9][0-9]{18,40}",
        1 => "-?[0-9]\\.[0-9]{1,25}",
        1 => "-?[1-9]\\.[0-9]{1,3}[eE][+-]?[0-9]{1,3}",
        1 => any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(|number| format!("{number:e}")),
        1 => Just("-0".to_owned()),
    ];
    text.prop_map(Json::Number)
}

fn scalar() -> impl Strategy<Value = Json> {
    let string = prop_oneof!["[a-c]{0,2}", ".{0,12}", "[\",\r\n\\\\ ]{0,4}", Just("null".to_owned())];
    prop_oneof![Just(Json::Null), any::<bool>().prop_map(Json::Bool), number(), string.prop_map(Json::String),]
}

fn value(names: &'static str) -> impl Strategy<Value = Json> {
    scalar().prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            members(names, inner).prop_map(Json::Object),
        ]
    })
}

/// Members of names that match `names`, each once.
fn members(names: &'static str, value: impl Strategy<Value = Json>) -> impl Strategy<Value = Vec<(String, Json)>> {
    prop::collection::vec((names, value), 0..5).prop_map(|mut members| {
        let mut seen = std::collections::HashSet::new();
        members.retain(|(name, _)| seen.insert(name.clone()));
        members
    })
}

/// Up to forty records: their members after the id. Few names, so that kinds meet.
pub fn random_records(names: &'static str) -> impl Strategy<Value = Vec<Vec<(String, Json)>>> {
    prop::collection::vec(members(names, value(names)), 0..40)
}

/// Their texts, with ids.
pub fn texts(random: &[Vec<(String, Json)>]) -> Vec<String> {
    let members: Vec<String> = random.iter().map(|members| members_text(members)).collect();
    records(&members.iter().map(String::as_str).collect::<Vec<_>>())
}

#[tokio::test]
async fn jsonl_gives_every_record_back_as_it_was_received() {
    let records = records(&["\"n\":12345678901234567890.10", "", "\"text\":\"ü\\u00fc,\\\"\" , \"a\" : [ ]"]);
    let reader = contacts(&records).await;
    let (bytes, written) = export(&reader, Format::Jsonl).await.unwrap();
    assert_eq!(String::from_utf8(bytes.clone()).unwrap(), records.join("\n") + "\n");
    assert_eq!((written.records, written.bytes), (3, bytes.len() as u64));
    let (bytes, written) = export(&contacts(&[]).await, Format::Jsonl).await.unwrap();
    assert_eq!((bytes.len(), written.records), (0, 0));
}
