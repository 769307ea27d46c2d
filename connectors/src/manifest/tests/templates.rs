//! Templates, conditions and dates.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;

use super::{
    super::{
        template::{Compiler, Engine, Only, Scope, Template, values},
        time,
    },
    assert_equal, context, rows, text_of, written,
};

/// Templates that are other than in the reference: halves of characters are joined, only literals that JSON knows are
/// values, and what no manifest uses is left out (macros, `encode`, attributes of numbers, lists of mixed kinds sorted).
const TEMPLATES_ON_PURPOSE: [&str; 14] = [
    r"'\ud83e\udd80'",
    "...",
    "{{ config['unicode'] | tojson }}",
    "{{ config['yes'] | abs }}",
    "{{ config['yes'] | round }}",
    "{{ +config.n }}",
    "{{ 'abc'.encode() }}",
    "{{ 'é'.encode('utf-8') }}",
    "{{ config.d.items() }}",
    "{{ (1).bit_length() }}",
    "{{ 1.5.is_integer() }}",
    "{{ true.real }}",
    "{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(1) }}",
    "{{ config.mixed | sort }}",
];

/// Dates by directives that no format of a published manifest has are written, but not read.
const DATES_ON_PURPOSE: [&str; 3] =
    ["\"2024-W05-3\" by %Y-W%W-%w", "\"Wed Jan 31 10:20:30 2024\" by %c", "\"01/31/24 10:20:30\" by %x %X"];

fn scope() -> Scope {
    let context = context();
    let mut scope = Scope::new(&values::from_json(&context["config"]));
    for (name, value) in context["names"].as_object().unwrap() {
        let page = Bytes::from(value.to_string());
        let range = 0..page.len();
        let value = values::Lazy::value(&page, range);
        scope = if name == "stream_slice" { scope.with_slice(&value) } else { scope.with(name, value) };
    }
    scope
}

/// What `evaluate` makes of each template; `error` where it fails.
fn evaluated(
    table: &[Vec<Value>],
    evaluate: impl Fn(&Template, &Engine, &Scope, &[Value]) -> crate::Result<String>,
) -> Vec<(String, String)> {
    let compiler = Compiler::new();
    let parameters = values::from_json(&context()["parameters"]);
    let compile = |source: &str| compiler.compile(&source.into(), parameters.clone(), "facts:1:1", &BTreeSet::new());
    let templates: Vec<_> = table.iter().map(|row| compile(row[0].as_str().unwrap())).collect();
    let (engine, scope) = (compiler.finish(), scope());
    let one = |(template, row): (&Result<Template, String>, &Vec<Value>)| {
        let value = template.clone().map_err(|reason| crate::Error::new(crate::ErrorKind::Invalid, reason));
        let value = value.and_then(|template| evaluate(&template, &engine, &scope, row));
        (row[0].as_str().unwrap().to_owned(), value.unwrap_or_else(|_| "error".into()))
    };
    templates.iter().zip(table).map(one).collect()
}

#[test]
fn templates_give_the_values_of_the_reference() {
    let table = rows(include_str!("../../../../tests/connectors/facts/templates.json"));
    let ours =
        evaluated(&table, |template, engine, scope, _| template.value(engine, scope).map(|value| written(&value)));
    let found = ours.into_iter().zip(&table).map(|((source, ours), row)| (source, text_of(&row[1]), ours));
    assert_equal(found.collect(), &TEMPLATES_ON_PURPOSE);
}

#[test]
fn conditions_hold_when_they_do_in_the_reference() {
    let table = rows(include_str!("../../../../tests/connectors/facts/conditions.json"));
    let ours =
        evaluated(&table, |template, engine, scope, _| template.is_met(engine, scope).map(|is_met| is_met.to_string()));
    let theirs = |row: &[Value]| row[1].as_bool().map_or_else(|| "error".into(), |is_met| is_met.to_string());
    let found = ours.into_iter().zip(&table).map(|((source, ours), row)| (source, theirs(row), ours));
    assert_equal(found.collect(), &[]);
}

#[test]
fn added_fields_take_a_kind_when_they_do_in_the_reference() {
    let table = rows(include_str!("../../../../tests/connectors/facts/typed.json"));
    let ours = evaluated(&table, |template, engine, scope, row| {
        let only = match row[1].as_str().unwrap() {
            "string" => Only::Text,
            "number" => Only::Number,
            "integer" => Only::Integer,
            _ => Only::Boolean,
        };
        template.value_of(engine, scope, only).map(|value| written(&value))
    });
    let case = |source: String, row: &[Value]| format!("{source} as {}", row[1]);
    let found = ours.into_iter().zip(&table).map(|((source, ours), row)| (case(source, row), text_of(&row[2]), ours));
    assert_equal(found.collect(), &[]);
}

#[test]
fn dates_are_read_and_refused_as_in_the_reference() {
    let mut found = Vec::new();
    for row in rows(include_str!("../../../../tests/connectors/facts/dates.json")) {
        let format = row[0].as_str().unwrap();
        let texts = row[1].as_array().cloned().unwrap_or_else(|| vec![row[1].clone()]);
        for text in texts {
            let text = text.as_str().unwrap();
            let ours = time::parse(text, format).map_or_else(|_| "null".into(), |moment| moment.epoch_us().to_string());
            found.push((format!("{text:?} by {format}"), row[2].to_string(), ours));
        }
    }
    assert_equal(found, &DATES_ON_PURPOSE);
}

#[test]
fn dates_are_written_as_in_the_reference() {
    let found = rows(include_str!("../../../../tests/connectors/facts/date_texts.json")).into_iter().map(|row| {
        let (format, instant) = (row[0].as_str().unwrap(), row[1].as_str().unwrap());
        let ours = time::format(&time::parse_iso(instant).unwrap(), format);
        (format!("{instant} by {format}"), text_of(&row[2]), ours)
    });
    assert_equal(found.collect(), &[]);
}
