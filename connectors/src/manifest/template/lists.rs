//! Filters of lists that the engine takes for none where Python has an error, and filters of texts that it lacks.

use minijinja::{
    Environment, Error, State, Value, filters,
    value::{Kwargs, ValueKind},
};

use super::{
    bounds::{allow_items, weighed},
    methods::padded,
    operators::{type_error, value_error},
    values::text,
};

/// Registers the filters.
pub(super) fn register(env: &mut Environment<'static>) {
    env.add_filter("list", list);
    env.add_filter("sort", sort);
    env.add_filter("unique", unique);
    env.add_filter("sum", sum);
    env.add_filter("min", min);
    env.add_filter("max", max);
    env.add_filter("batch", batch);
    env.add_filter("reverse", reverse);
    env.add_filter("dictsort", dictsort);
    for name in ["e", "escape"] {
        env.add_filter(name, escaped);
    }
    env.add_filter("wordcount", |value: &Value| {
        text(value).split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).count()
    });
    env.add_filter("truncate", truncated);
    env.add_filter("striptags", without_tags);
    env.add_filter("center", |value: &Value, width: Option<usize>| {
        padded(&text(value), "center", &[Value::from(width.unwrap_or(80))])
    });
    env.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map)
    });
}

fn not_none(value: Value, filter: &str) -> Result<Value, Error> {
    if value.is_none() { Err(type_error(format!("`{filter}` does not work on none"))) } else { Ok(value) }
}

fn list(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    weighed(state, filters::list(state, not_none(value, "list")?)?)
}

fn sort(state: &State<'_, '_>, value: Value, options: Kwargs) -> Result<Value, Error> {
    // Items are compared as a whole, and so are those of `unique` and of the largest and smallest.
    filters::sort(state, weighed(state, not_none(value, "sort")?)?, options)
}

fn unique(state: &State<'_, '_>, value: Value, options: Kwargs) -> Result<Value, Error> {
    filters::unique(state, weighed(state, not_none(value, "unique")?)?, options)
}

fn min(state: &State<'_, '_>, value: Value, options: Kwargs) -> Result<Value, Error> {
    filters::min(state, weighed(state, not_none(value, "min")?)?, options)
}

fn max(state: &State<'_, '_>, value: Value, options: Kwargs) -> Result<Value, Error> {
    filters::max(state, weighed(state, not_none(value, "max")?)?, options)
}

fn sum(
    state: &State<'_, '_>,
    value: Value,
    attribute: Option<&str>,
    start: Option<Value>,
    options: Kwargs,
) -> Result<Value, Error> {
    filters::sum(state, not_none(value, "sum")?, attribute, start, options)
}

fn batch(state: &State<'_, '_>, value: Value, count: usize, fill: Option<Value>) -> Result<Value, Error> {
    allow_items(count)?;
    weighed(state, filters::batch(state, not_none(value, "batch")?, count, fill)?)
}

fn reverse(value: &Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::None | ValueKind::Bool | ValueKind::Number => {
            Err(value_error(format!("`reverse` does not work on {}", value.kind())))
        }
        _ => filters::reverse(value),
    }
}

fn dictsort(value: &Value, options: Kwargs) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Map => filters::dictsort(value, options),
        other => Err(value_error(format!("`dictsort` does not work on {other}"))),
    }
}

/// Text for HTML.
fn escaped(value: &Value) -> String {
    let text = text(value).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('\'', "&#39;").replace('"', "&#34;")
}

/// The text, or its beginning with an ellipsis where it is longer than `length` and a leeway of five.
fn truncated(value: &Value, length: Option<usize>, kills_words: Option<bool>, end: Option<&str>) -> String {
    let (text, length, end) = (text(value), length.unwrap_or(255), end.unwrap_or("..."));
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= length.saturating_add(5) {
        return text;
    }
    let head: String = characters[..length.saturating_sub(end.chars().count())].iter().collect();
    let kept =
        if kills_words == Some(true) { head.as_str() } else { head.rsplit_once(' ').map_or(&*head, |parts| parts.0) };
    format!("{kept}{end}")
}

/// Text without tags and comments, in one line.
fn without_tags(value: &Value) -> String {
    let text = text(value);
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        let end =
            if tag.starts_with("<!--") { tag.find("-->").map(|end| end + 3) } else { tag.find('>').map(|end| end + 1) };
        let Some(end) = end else { break };
        plain.push_str(before);
        rest = &tag[end..];
    }
    plain.push_str(rest);
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}
