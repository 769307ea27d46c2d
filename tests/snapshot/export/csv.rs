//! CSV: every value is in the column that its path names, as it was written.

use std::collections::BTreeMap;

use listbackup_engine::{ErrorKind, export::Format};
use proptest::prelude::*;

use super::{
    json::{Json, random_records, texts},
    world::{contacts, export, records, runtime},
};

/// A cell; none when it is empty without quotes.
type Cell = Option<String>;

/// Rows of cells, as RFC 4180 reads them.
fn parse(text: &str) -> Vec<Vec<Cell>> {
    let mut rows = Vec::new();
    let mut row = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (cell, end) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let mut cell = String::new();
                let mut at = quoted;
                loop {
                    let (part, after) = at.split_once('"').expect("quotes are closed");
                    cell.push_str(part);
                    match after.strip_prefix('"') {
                        Some(more) => {
                            cell.push('"');
                            at = more;
                        }
                        None => break (Some(cell), after),
                    }
                }
            }
            None => {
                let end = rest.find([',', '\r']).expect("lines end");
                (Some(rest[..end].to_owned()).filter(|cell| !cell.is_empty()), &rest[end..])
            }
        };
        row.push(cell);
        rest = match end.strip_prefix(',') {
            Some(more) => more,
            None => {
                rows.push(std::mem::take(&mut row));
                end.strip_prefix("\r\n").expect("a line ends with both")
            }
        };
    }
    rows
}

async fn table(records: &[String]) -> (Vec<String>, Vec<Vec<Cell>>) {
    let (bytes, written) = export(&contacts(records).await, Format::Csv).await.unwrap();
    assert_eq!(written.bytes, bytes.len() as u64);
    let mut rows = parse(std::str::from_utf8(&bytes).unwrap());
    assert_eq!(written.records as usize, rows.len() - 1);
    let header = rows.remove(0).into_iter().map(Option::unwrap_or_default).collect();
    (header, rows)
}

/// What a record's cells hold, by column.
fn cells(prefix: &str, members: &[(String, Json)], found: &mut BTreeMap<String, String>) {
    for (name, value) in members {
        let path = format!("{prefix}{name}");
        match value {
            Json::Null => {}
            Json::Object(members) if !members.is_empty() => cells(&format!("{path}."), members, found),
            Json::String(text) => {
                found.insert(path, text.clone());
            }
            other => {
                found.insert(path, other.text());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_value_of_every_record_is_in_its_column(random in random_records("[a-c]|é")) {
        let (header, rows) = runtime().block_on(table(&texts(&random)));
        prop_assert_eq!(rows.len(), random.len());
        prop_assert_eq!(header.iter().collect::<std::collections::HashSet<_>>().len(), header.len());
        for (id, (row, members)) in rows.iter().zip(&random).enumerate() {
            let mut expected = BTreeMap::from([("id".to_owned(), id.to_string())]);
            cells("", members, &mut expected);
            prop_assert_eq!(row.len(), header.len());
            let found = header.iter().zip(row).filter_map(|(name, cell)| Some((name.clone(), cell.clone()?)));
            prop_assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
        }
    }
}

#[tokio::test]
async fn columns_come_in_the_order_of_their_appearance_and_the_key_first() {
    let records = [
        "{\"z\":1,\"address\":{\"zip\":\"\",\"city\":null},\"id\":0}".to_owned(),
        "{\"address\":{\"street\":\"a,\\\"b\\\"\\r\\nc\"},\"id\":1,\"a\":true}".to_owned(),
    ];
    let (bytes, _) = export(&contacts(&records).await, Format::Csv).await.unwrap();
    let expected = "id,z,address.zip,address.city,address.street,a\r\n\
        0,1,\"\",,,\r\n\
        1,,,,\"a,\"\"b\"\"\r\nc\",true\r\n";
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[tokio::test]
async fn numbers_keep_their_text_and_formulas_stay_text() {
    let members =
        "\"n\":[12345678901234567890123],\"f\":1.0,\"e\":1e3,\"g\":-0.10,\"b\":98765432109876543210,\"s\":\"=1+1\"";
    let (header, rows) = table(&records(&[members])).await;
    assert_eq!(header, ["id", "n", "f", "e", "g", "b", "s"]);
    let cells: Vec<_> = rows[0].iter().flatten().map(String::as_str).collect();
    assert_eq!(cells, ["0", "[12345678901234567890123]", "1.0", "1e3", "-0.10", "98765432109876543210", "=1+1"]);
}

#[tokio::test]
async fn names_that_would_meet_in_one_column_get_two() {
    let (header, rows) = table(&records(&["\"a.b\":1,\"a\":{\"b\":2},\"x\":3,\"x\":4,\"y\":\"\\ud800\""])).await;
    assert_eq!(header, ["id", "a.b", "a.b (2)", "x", "x (2)", "y"]);
    let cells: Vec<_> = rows[0].iter().flatten().map(String::as_str).collect();
    assert_eq!(cells, ["0", "1", "2", "3", "4", "\"\\ud800\""]);
}

#[tokio::test]
async fn more_fields_than_columns_are_gathered_and_none_is_lost() {
    let wide: Vec<String> = (0..5)
        .map(|row| (0..900).map(|n| format!("\"f{}\":{n}", row * 900 + n)).collect::<Vec<_>>().join(","))
        .collect();
    let (header, rows) = table(&records(&wide.iter().map(String::as_str).collect::<Vec<_>>())).await;
    assert_eq!((header.len(), header[2000].as_str()), (2001, "_other"));
    let gathered: BTreeMap<String, u32> = serde_json::from_str(rows[4][2000].as_deref().unwrap()).unwrap();
    assert_eq!((gathered.len(), gathered["f4499"]), (900, 899));
    assert_eq!(rows[0][2000], None);

    let deep = format!("\"a\":{}1{}", "{\"a\":".repeat(100), "}".repeat(100));
    let (header, rows) = table(&records(&[&deep])).await;
    assert_eq!(header.len(), 2);
    assert!(rows[0][1].as_deref().unwrap().starts_with("{\"a\":{"));
}

#[tokio::test]
async fn an_empty_stream_has_the_columns_of_its_key() {
    let (bytes, written) = export(&contacts(&[]).await, Format::Csv).await.unwrap();
    assert_eq!((String::from_utf8(bytes).unwrap().as_str(), written.records), ("id\r\n", 0));
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_not_found() {
    let world = crate::store::World::new(crate::store::small_settings());
    let reader = super::world::snapshot(&world, &[("orders", &[])]).await;
    assert_eq!(export(&reader, Format::Csv).await.unwrap_err().kind(), ErrorKind::NotFound);
}
