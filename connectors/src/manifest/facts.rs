//! What the reference does, compared with what this runtime does: tables of `tests/connectors/facts`, which
//! `make-facts.py` there takes from the reference. Where this runtime differs on purpose, the case is named here.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    cursor::{CursorSpec, Intervals},
    extract::{self, Plan, Step},
    json::Slice as Json,
    load::Loader,
    normalize::normalize,
    paginate::{Paginator, Turn},
    request::{
        options::Fields,
        outcome::{Action, ErrorHandler},
        url::{add_query, join},
    },
    session::Session,
    slice::Slice,
    template::{Compiler, Engine, Only, Python, Scope, Template, values},
    time::{self, Moment},
    transform::{Record, Transformation},
};
use crate::{
    Link, Settings,
    http::{AddressGuard, HeaderMap, HttpClient, HttpClientBuilder, Response, StatusCode},
    oauth::MemoryCredentials,
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

/// The rows of a table.
fn rows(table: &str) -> Vec<Vec<Value>> {
    serde_json::from_str(table).unwrap()
}

/// The settings and names that the cases see; as in `cases.py`.
fn context() -> Value {
    serde_json::from_str(include_str!("../../../tests/connectors/facts/context.json")).unwrap()
}

/// Fails with every case in which both differ.
fn assert_equal(found: Vec<(String, String, String)>, on_purpose: &[&str]) {
    let mut report = String::new();
    let mut count = 0;
    for (case, theirs, ours) in found {
        if theirs != ours && !on_purpose.contains(&case.as_str()) {
            count += 1;
            writeln!(report, "{case}\n    reference {theirs}\n    ours      {ours}").unwrap();
        }
    }
    assert!(count == 0, "{count} differ\n{report}");
}

/// A value as Python writes it.
fn written(value: &Python) -> String {
    let list = Python::List(vec![value.clone()]).text();
    list[1..list.len() - 1].to_owned()
}

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

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| "error".into(), str::to_owned)
}

#[test]
fn templates_give_the_values_of_the_reference() {
    let table = rows(include_str!("../../../tests/connectors/facts/templates.json"));
    let ours =
        evaluated(&table, |template, engine, scope, _| template.value(engine, scope).map(|value| written(&value)));
    let found = ours.into_iter().zip(&table).map(|((source, ours), row)| (source, text_of(&row[1]), ours));
    assert_equal(found.collect(), &TEMPLATES_ON_PURPOSE);
}

#[test]
fn conditions_hold_when_they_do_in_the_reference() {
    let table = rows(include_str!("../../../tests/connectors/facts/conditions.json"));
    let ours =
        evaluated(&table, |template, engine, scope, _| template.is_met(engine, scope).map(|is_met| is_met.to_string()));
    let theirs = |row: &[Value]| row[1].as_bool().map_or_else(|| "error".into(), |is_met| is_met.to_string());
    let found = ours.into_iter().zip(&table).map(|((source, ours), row)| (source, theirs(row), ours));
    assert_equal(found.collect(), &[]);
}

#[test]
fn added_fields_take_a_kind_when_they_do_in_the_reference() {
    let table = rows(include_str!("../../../tests/connectors/facts/typed.json"));
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
    for row in rows(include_str!("../../../tests/connectors/facts/dates.json")) {
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
    let found = rows(include_str!("../../../tests/connectors/facts/date_texts.json")).into_iter().map(|row| {
        let (format, instant) = (row[0].as_str().unwrap(), row[1].as_str().unwrap());
        let ours = time::format(&time::parse_iso(instant).unwrap(), format);
        (format!("{instant} by {format}"), text_of(&row[2]), ours)
    });
    assert_equal(found.collect(), &[]);
}

/// A session with the settings of the cases.
fn session(engine: Engine) -> Session {
    // Building a client takes long: one for all.
    static HTTP: OnceLock<HttpClient> = OnceLock::new();
    let http = HTTP.get_or_init(|| HttpClientBuilder::new(AddressGuard::allowing(Vec::new())).build().unwrap());
    let settings = context()["config"].clone();
    let link = Link {
        settings: Settings::new(settings.clone()),
        http: http.clone(),
        credentials: Arc::new(MemoryCredentials::empty()),
    };
    Session::new(Arc::new(engine), link, settings)
}

/// Loads a part of a manifest with `load`; `None` when it is refused.
fn loaded<T>(part: &Value, load: impl FnOnce(&super::load::View<'_>) -> super::load::Take<T>) -> Option<(T, Session)> {
    let (loader, root) = Loader::read("facts", &part.to_string()).ok()?;
    let loaded = load(&loader.root(&root)).ok();
    let (compiler, problems) = loader.into_parts();
    loaded.filter(|_| problems.is_empty()).map(|loaded| (loaded, session(compiler.finish())))
}

/// The windows that a cursor reads from a state, and the state afterwards.
fn windows(definition: &Value, state: &Value, records: &[Value]) -> Option<(Value, Value)> {
    let mut definition = definition.clone();
    definition["type"] = "DatetimeBasedCursor".into();
    definition["cursor_field"] = "at".into();
    let (spec, session) = loaded(&json!({ "incremental_sync": definition }), CursorSpec::load)?;
    let cursor = spec?.bind(&session, None).ok()?;
    let mut intervals = Intervals::from_state(&cursor, Some(state), None).ok()?;
    let open = intervals.open_windows(&cursor).ok()?;
    for (start, end) in &open {
        let (low, high) = (cursor.text(start), cursor.text(end));
        // As the request has them, so they are closed.
        let (start, end) = (&cursor.parse(&low)?, &cursor.parse(&high)?);
        let inside = records.iter().filter_map(Value::as_str).filter(|value| *low <= **value && **value <= *high);
        let latest: Option<Moment> = inside.filter_map(|value| cursor.parse(value)).max();
        intervals.close(&cursor, *start, *end, latest).ok()?;
    }
    let shown: Vec<_> = open.iter().map(|(start, end)| json!([cursor.text(start), cursor.text(end)])).collect();
    Some((shown.into(), intervals.to_state(&cursor)))
}

#[test]
fn windows_and_states_are_those_of_the_reference() {
    let found = rows(include_str!("../../../tests/connectors/facts/windows.json")).into_iter().map(|row| {
        let ours = windows(&row[0], &row[1], row[2].as_array().unwrap());
        let ours = ours.map_or_else(|| "null null".into(), |(open, state)| format!("{open} {state}"));
        (format!("{} from {} with {}", row[0], row[1], row[2]), format!("{} {}", row[3], row[4]), ours)
    });
    assert_equal(found.collect(), &[]);
}

fn headers(written: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in written.as_object().unwrap() {
        let name = crate::http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.insert(name, value.as_str().unwrap().parse().unwrap());
    }
    headers
}

/// The token before the first page and after each.
fn tokens(strategy: &Value, pages: &[Value]) -> Option<String> {
    let part = json!({ "paginator": { "type": "DefaultPaginator", "pagination_strategy": strategy } });
    let (paginator, session) = loaded(&part, Paginator::load)?;
    let paginator = paginator?;
    let mut token = paginator.first_token();
    let mut all = vec![token.clone()];
    let plan = Plan { path: vec![Step::Name("data".into())], ..Plan::default() };
    for answer in pages {
        let page = extract::extract(Bytes::from(answer[0].to_string()), &plan).ok()?;
        let last = page.records.last().map(|found| found.slice.body.start as usize..found.slice.body.end as usize);
        let turn = Turn {
            page: &page,
            headers: &headers(&answer[1]),
            slice: &Slice::default(),
            found: page.records.len(),
            kept: page.records.len(),
            last_record: last.map(|range| values::Lazy::value(&page.body, range)),
            token: token.as_ref(),
        };
        token = paginator.next(&session, &turn).ok()?;
        all.push(token.clone());
        if token.is_none() {
            break;
        }
    }
    let shown = all.iter().map(|token| token.as_ref().map_or_else(|| "None".into(), written));
    Some(json!(shown.collect::<Vec<_>>()).to_string())
}

#[test]
fn pages_lead_to_the_tokens_of_the_reference() {
    let found = rows(include_str!("../../../tests/connectors/facts/pages.json")).into_iter().map(|row| {
        let ours = tokens(&row[0], row[1].as_array().unwrap()).unwrap_or_else(|| "null".into());
        (format!("{} {}", row[0], row[1]), row[2].to_string(), ours)
    });
    assert_equal(found.collect(), &[]);
}

fn response(status: &Value, written: &Value, body: &str) -> Response {
    Response {
        status: StatusCode::from_u16(u16::try_from(status.as_u64().unwrap()).unwrap()).unwrap(),
        headers: headers(written),
        body: Bytes::from(body.to_owned()),
        url: "https://facts.example/".parse().unwrap(),
    }
}

#[test]
fn answers_are_taken_tried_again_or_refused_as_in_the_reference() {
    let found = rows(include_str!("../../../tests/connectors/facts/refusals.json")).into_iter().map(|row| {
        let answer = response(&row[1], &row[2], row[3].as_str().unwrap());
        let (handler, session) = loaded(&json!({ "error_handler": row[0] }), ErrorHandler::load).unwrap();
        let ours = handler.interpret(&session, &answer).map_or("error", |resolution| match resolution.action {
            Action::Success => "SUCCESS",
            Action::Retry => "RETRY",
            Action::RateLimited => "RATE_LIMITED",
            Action::Ignore => "IGNORE",
            Action::RefreshToken => "REFRESH_TOKEN_THEN_RETRY",
            Action::Fail => "FAIL",
        });
        (format!("{} {} {} {}", row[0], row[1], row[2], row[3]), text_of(&row[4]), ours.to_owned())
    });
    assert_equal(found.collect(), &[]);
}

#[test]
fn waits_are_those_of_the_reference_but_never_shorter_than_the_product_asks_for() {
    let found = rows(include_str!("../../../tests/connectors/facts/waits.json")).into_iter().map(|row| {
        let (definition, attempt) = (&row[0], row[2].as_u64().unwrap() as u32);
        let answer = response(&json!(429), &row[1], "{}");
        let (handler, session) = loaded(&json!({ "error_handler": definition }), ErrorHandler::load).unwrap();
        let ours = handler.wait(&session, Some(&answer), attempt).unwrap().as_secs_f64();
        let theirs = row[3].as_f64().unwrap();
        // A wait that a strategy gives is lengthened by a second; without one it doubles with every try.
        let theirs = if theirs > 0.0 { theirs + 1.0 } else { f64::from(1 << (attempt - 1)) };
        let asked = crate::http::retry_after(&answer.headers, crate::clock::now()).unwrap_or_default().as_secs_f64();
        (format!("{definition} {} try {attempt}", row[1]), theirs.max(asked).to_string(), ours.to_string())
    });
    assert_equal(found.collect(), &[]);
}

#[test]
fn records_are_found_where_the_reference_finds_them() {
    let found = rows(include_str!("../../../tests/connectors/facts/paths.json")).into_iter().map(|row| {
        let steps = row[0].as_array().unwrap().iter().map(|step| match step.as_str().unwrap() {
            "*" => Step::Each,
            name => name.parse().map_or_else(|_| Step::Name(name.to_owned()), Step::Index),
        });
        let plan = Plan { path: steps.collect(), ..Plan::default() };
        // What is no object is no record: here that is an error.
        let theirs = if row[2].as_array().is_none_or(|records| records.iter().all(Value::is_object)) {
            row[2].to_string()
        } else {
            "error".into()
        };
        let ours = extract::extract(Bytes::from(row[1].to_string()), &plan).map_or_else(
            |_| "error".into(),
            |page| {
                let text = std::str::from_utf8(&page.body).unwrap();
                let bodies = page
                    .records
                    .iter()
                    .map(|found| text[found.slice.body.start as usize..found.slice.body.end as usize].to_owned());
                format!("[{}]", bodies.collect::<Vec<_>>().join(","))
            },
        );
        (format!("{} in {}", row[0], row[1]), theirs, ours)
    });
    assert_equal(found.collect(), &[]);
}

#[test]
fn addresses_are_put_together_as_in_the_reference() {
    let found = rows(include_str!("../../../tests/connectors/facts/addresses.json")).into_iter().map(|row| {
        let (base, path) = (row[0].as_str().unwrap(), row[1].as_str().unwrap());
        let address = join(base, path.trim_start_matches('/')).and_then(|mut url| {
            let parameters = row[2].as_object().unwrap().iter();
            let fields = parameters.map(|(name, value)| (name.clone(), Python::from(value))).collect();
            add_query(&mut url, Fields(fields)).map(|()| url.to_string())
        });
        // What has another scheme is no address of http; double slashes are joined before `..` is followed.
        let is_on_purpose = path == "x:y" || base.contains("//v1//") && path == "../x";
        let theirs = if is_on_purpose { String::new() } else { text_of(&row[3]) };
        (format!("{base} {path} {}", row[2]), theirs, address.unwrap_or_else(|_| "error".into()))
    });
    assert_equal(found.filter(|(_, theirs, _)| !theirs.is_empty()).collect(), &[]);
}

#[test]
fn records_are_changed_as_in_the_reference() {
    let part = Slice { partition: vec![("part".to_owned(), Python::Int(1))], ..Slice::default() }.to_value();
    let found = rows(include_str!("../../../tests/connectors/facts/changes.json")).into_iter().map(|row| {
        let change = |(transformation, session): (Transformation, Session)| {
            let mut record = Record::open(Json::checked(&row[1].to_string()));
            transformation.apply(&session, &part, &mut record).ok()?;
            serde_json::from_str::<Value>(&record.text()).ok()
        };
        let list = json!({ "transformations": [row[0]] });
        let ours = loaded(&list, |view| Transformation::load(&view.children("transformations")[0])).and_then(change);
        let ours = ours.map_or_else(|| "null".into(), |record| sorted(&record).to_string());
        // A field inside a null: the reference ends the stream, here the null becomes an object.
        let is_inside_null = row[0]["fields"][0]["path"][0] == "null" && row[2].is_null();
        let theirs = if is_inside_null { ours.clone() } else { sorted(&row[2]).to_string() };
        (format!("{} of {}", row[0], row[1]), theirs, ours)
    });
    assert_equal(found.collect(), &[]);
}

#[test]
fn references_lead_where_they_do_in_the_reference() {
    let found = rows(include_str!("../../../tests/connectors/facts/references.json")).into_iter().map(|row| {
        let ours = Loader::read("facts", &row[0].to_string())
            .map_or_else(|_| "null".into(), |(_, node)| sorted(&node.to_json()).to_string());
        (row[0].to_string(), sorted(&row[1]).to_string(), ours)
    });
    assert_equal(found.collect(), &[]);
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: std::collections::BTreeMap<_, _> =
                members.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            members.into_iter().collect()
        }
        Value::Array(items) => items.iter().map(sorted).collect(),
        other => other.clone(),
    }
}

#[test]
fn values_take_the_kinds_of_the_schema_as_in_the_reference() {
    let found = rows(include_str!("../../../tests/connectors/facts/normalized.json")).into_iter().map(|row| {
        let mut record = Python::from_json(Json::checked(&json!({ "f": row[1] }).to_string()));
        normalize(&mut record, &json!({ "type": "object", "properties": { "f": row[0] } }));
        let Python::Dict(members) = record else { panic!("no object") };
        (format!("{} as {}", row[1], row[0]), text_of(&row[2]), written(&members[0].1))
    });
    assert_equal(found.collect(), &[]);
}
