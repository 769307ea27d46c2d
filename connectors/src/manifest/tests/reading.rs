//! Windows, pages, answers, addresses, records and references.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    super::{
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
        template::{Python, values},
        time::Moment,
        transform::{Record, Transformation},
    },
    assert_equal, loaded, rows, sorted, text_of, written,
};
use crate::http::{HeaderMap, Response, StatusCode};

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
    let found = rows(include_str!("../../../../tests/connectors/facts/windows.json")).into_iter().map(|row| {
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
    let (paginator, session) = loaded(&part, |view| Paginator::load(view, "paginator"))?;
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
            size: None,
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
    let found = rows(include_str!("../../../../tests/connectors/facts/pages.json")).into_iter().map(|row| {
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
    let found = rows(include_str!("../../../../tests/connectors/facts/refusals.json")).into_iter().map(|row| {
        let answer = response(&row[1], &row[2], row[3].as_str().unwrap());
        let (handler, session) = loaded(&json!({ "error_handler": row[0] }), ErrorHandler::load).unwrap();
        let ours = handler.interpret(&session, &answer).map_or("error", |resolution| match resolution.action {
            Action::Success => "SUCCESS",
            Action::Retry => "RETRY",
            Action::RateLimited => "RATE_LIMITED",
            Action::Ignore => "IGNORE",
            Action::RefreshToken => "REFRESH_TOKEN_THEN_RETRY",
            Action::ReducePage => "REDUCE_PAGE_SIZE",
            Action::ResetPages => "RESET_PAGINATION",
            Action::SplitWindow => "SPLIT_REQUEST_WINDOW",
            Action::Fail => "FAIL",
        });
        (format!("{} {} {} {}", row[0], row[1], row[2], row[3]), text_of(&row[4]), ours.to_owned())
    });
    assert_equal(found.collect(), &[]);
}

#[test]
fn waits_are_those_of_the_reference_but_never_shorter_than_the_product_asks_for() {
    let found = rows(include_str!("../../../../tests/connectors/facts/waits.json")).into_iter().map(|row| {
        let (definition, attempt) = (&row[0], row[2].as_u64().unwrap() as u32);
        let answer = response(&json!(429), &row[1], "{}");
        let (handler, session) = loaded(&json!({ "error_handler": definition }), ErrorHandler::load).unwrap();
        let ours = handler.wait(&session, Some(&answer), attempt).unwrap().0.as_secs_f64();
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
    let found = rows(include_str!("../../../../tests/connectors/facts/paths.json")).into_iter().map(|row| {
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
    let found = rows(include_str!("../../../../tests/connectors/facts/addresses.json")).into_iter().map(|row| {
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
    let found = rows(include_str!("../../../../tests/connectors/facts/changes.json")).into_iter().map(|row| {
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
    let found = rows(include_str!("../../../../tests/connectors/facts/references.json")).into_iter().map(|row| {
        let ours = Loader::read("facts", &row[0].to_string())
            .map_or_else(|_| "null".into(), |(_, node)| sorted(&node.to_json()).to_string());
        (row[0].to_string(), sorted(&row[1]).to_string(), ours)
    });
    assert_equal(found.collect(), &[]);
}

#[test]
fn values_take_the_kinds_of_the_schema_as_in_the_reference() {
    let found = rows(include_str!("../../../../tests/connectors/facts/normalized.json")).into_iter().map(|row| {
        let mut record = Python::from_json(Json::checked(&json!({ "f": row[1] }).to_string()));
        normalize(&mut record, &json!({ "type": "object", "properties": { "f": row[0] } }));
        let Python::Dict(members) = record else { panic!("no object") };
        (format!("{} as {}", row[1], row[0]), text_of(&row[2]), written(&members[0].1))
    });
    assert_equal(found.collect(), &[]);
}
