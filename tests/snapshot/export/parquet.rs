//! Parquet: what a reader reads is what was received, or the text of it.

use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
};
use arrow_schema::{DataType, Field};
use bytes::Bytes;
use listbackup_engine::export::Format;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use super::{
    json::{Json, random_records, texts},
    world::{contacts, export, records, runtime},
};

async fn read(records: &[String]) -> Vec<RecordBatch> {
    let (bytes, written) = export(&contacts(records).await, Format::Parquet).await.unwrap();
    assert_eq!((written.records as usize, written.bytes), (records.len(), bytes.len() as u64));
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
    builder.build().unwrap().map(Result::unwrap).collect()
}

fn of<T: Array + 'static>(array: &ArrayRef) -> &T {
    array.as_any().downcast_ref().expect("the type that the schema says")
}

/// Says where a value and what was read of it differ.
fn check(place: &str, value: &Json, field: &Field, array: &ArrayRef, row: usize) -> Result<(), String> {
    let differs = |read: String| Err(format!("{place}: {} became {read} ({field})", value.text()));
    let is_null = matches!(value, Json::Null);
    if is_null || array.is_null(row) {
        return if is_null && array.is_null(row) { Ok(()) } else { differs("null or not null".to_owned()) };
    }
    match (field.data_type(), value) {
        (DataType::Boolean, Json::Bool(value)) if of::<BooleanArray>(array).value(row) == *value => Ok(()),
        (DataType::Int64, Json::Number(text)) if of::<Int64Array>(array).value(row).to_string() == *text => Ok(()),
        (DataType::Float64, Json::Number(text)) => {
            let read = of::<Float64Array>(array).value(row);
            let is_whole = !text.contains(['.', 'e', 'E']) && text != "-0";
            let is_same = if is_whole { format!("{read:.0}") == *text } else { text.parse() == Ok(read) };
            if is_same { Ok(()) } else { differs(read.to_string()) }
        }
        (DataType::Utf8, value) => {
            let expected = match (field.metadata().get("listbackup.content").map(String::as_str), value) {
                (None, Json::String(text)) => text.clone(),
                (Some("number"), Json::Number(text)) => text.clone(),
                (Some("json"), value) => value.text(),
                _ => return differs("text of another kind".to_owned()),
            };
            let read = of::<StringArray>(array).value(row);
            if read == expected { Ok(()) } else { differs(read.to_owned()) }
        }
        (DataType::List(field), Json::Array(values)) => {
            let read = of::<ListArray>(array).value(row);
            if read.len() != values.len() {
                return differs(format!("{} elements", read.len()));
            }
            values.iter().enumerate().try_for_each(|(i, value)| check(&format!("{place}[{i}]"), value, field, &read, i))
        }
        (DataType::Struct(fields), Json::Object(members)) => {
            let columns = of::<StructArray>(array).columns();
            check_members(place, members, fields.iter().map(|field| &**field).zip(columns), row)
        }
        _ => differs(format!("{array:?}")),
    }
}

fn check_members<'a>(
    place: &str,
    members: &[(String, Json)],
    columns: impl Iterator<Item = (&'a Field, &'a ArrayRef)>,
    row: usize,
) -> Result<(), String> {
    let mut found = 0;
    for (field, array) in columns {
        let member = members.iter().find(|(name, _)| name == field.name()).map(|(_, value)| value);
        found += usize::from(member.is_some());
        check(&format!("{place}.{}", field.name()), member.unwrap_or(&Json::Null), field, array, row)?;
    }
    if found == members.len() { Ok(()) } else { Err(format!("{place}: a member has no column")) }
}

fn check_all(random: &[Vec<(String, Json)>], batches: &[RecordBatch]) -> Result<(), String> {
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| (batch, row)));
    assert_eq!(rows.clone().count(), random.len());
    for (id, ((batch, row), members)) in rows.zip(random).enumerate() {
        let mut members = members.clone();
        members.push(("id".to_owned(), Json::Number(id.to_string())));
        let schema = batch.schema();
        let columns = schema.fields().iter().map(|field| &**field).zip(batch.columns());
        check_members(&id.to_string(), &members, columns, row)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn every_value_of_every_record_is_read_back(random in random_records("[a-c]|é|a\\.b|_other")) {
        let batches = runtime().block_on(read(&texts(&random)));
        if let Err(difference) = check_all(&random, &batches) {
            return Err(TestCaseError::fail(difference));
        }
    }
}

/// The type of a field in a stream of these records.
async fn type_of(members: &[&str]) -> DataType {
    let batches = read(&records(members)).await;
    batches[0].schema().field_with_name("v").unwrap().data_type().clone()
}

#[tokio::test]
async fn each_field_has_the_narrowest_type_that_loses_nothing() {
    assert_eq!(type_of(&["\"v\":1", "\"v\":-9223372036854775808", ""]).await, DataType::Int64);
    assert_eq!(type_of(&["\"v\":1", "\"v\":9223372036854775808"]).await, DataType::Utf8);
    assert_eq!(type_of(&["\"v\":1", "\"v\":0.5"]).await, DataType::Float64);
    assert_eq!(type_of(&["\"v\":9007199254740993", "\"v\":0.5"]).await, DataType::Utf8);
    assert_eq!(type_of(&["\"v\":0.1234567890123456789"]).await, DataType::Utf8);
    assert_eq!(type_of(&["\"v\":true", "\"v\":null"]).await, DataType::Boolean);
    assert_eq!(type_of(&["\"v\":null"]).await, DataType::Utf8);
    assert_eq!(type_of(&["\"v\":\"x\"", "\"v\":1"]).await, DataType::Utf8);
    assert_eq!(type_of(&["\"v\":{}"]).await, DataType::Utf8);
    assert!(matches!(type_of(&["\"v\":{}", "\"v\":{\"a\":{}}"]).await, DataType::Struct(_)));
    assert!(matches!(type_of(&["\"v\":[]", "\"v\":[[1],null]"]).await, DataType::List(_)));
    assert_eq!(type_of(&["\"v\":[]", "\"v\":{\"a\":1}"]).await, DataType::Utf8);
}

#[tokio::test]
async fn a_record_of_many_values_and_a_wide_or_deep_one_stay_within_bounds_and_whole() {
    let long = format!("[{}]", vec!["{\"a\":1}"; 20_000].join(","));
    let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
    let members = format!("\"long\":{long},\"deep\":{deep}");
    let batches = read(&records(&[&members, "\"long\":[1]"])).await;
    let text: &StringArray = of(batches[0].column_by_name("long").unwrap());
    assert_eq!((text.value(0), text.value(1)), (long.as_str(), "[1]"));
    let wide: String = (0..2_500).map(|n| format!("\"f{n}\":{n},")).collect();
    let batches = read(&records(&[&format!("{wide}\"_other\":1")])).await;
    let schema = batches[0].schema();
    assert_eq!(schema.fields().len(), 2_001);
    let rest: &StringArray = of(batches[0].column_by_name("_other").unwrap());
    let rest: std::collections::BTreeMap<String, u32> = serde_json::from_str(rest.value(0)).unwrap();
    assert_eq!((rest.len(), rest["f2499"], rest["_other"]), (502, 2499, 1));
}

#[tokio::test]
async fn many_records_make_bounded_row_groups_and_the_file_says_where_it_comes_from() {
    let records: Vec<String> = (0..20_000).map(|id| format!("{{\"id\":{id},\"text\":\"{id:>300}\"}}")).collect();
    let reader = contacts(&records).await;
    let (bytes, _) = export(&reader, Format::Parquet).await.unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
    let about = builder.metadata().file_metadata().key_value_metadata().unwrap().clone();
    let about = |name: &str| about.iter().find(|pair| pair.key == name).and_then(|pair| pair.value.clone()).unwrap();
    let manifest = reader.manifest();
    assert_eq!(about("listbackup.snapshot"), manifest.snapshot_id.to_string());
    assert_eq!(about("listbackup.source"), manifest.source_id.to_string());
    assert_eq!(about("listbackup.stream"), "contacts");
    assert_eq!(about("listbackup.content_digest"), manifest.streams["contacts"].content_digest.to_string());
    let rows: usize = builder.build().unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(rows, records.len());
}

#[tokio::test]
async fn an_empty_stream_is_a_file_with_the_columns_of_its_key() {
    let (bytes, _) = export(&contacts(&[]).await, Format::Parquet).await.unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).unwrap();
    assert_eq!(builder.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), ["id"]);
    assert_eq!(builder.build().unwrap().count(), 0);
}
