//! Products that are stuck, or go in circles: a read ends with an error that says so, after a bounded number of requests and
//! within its deadline. The clock is the test's; the server answers in the same runtime.

#[path = "stuck/server.rs"]
mod server;
#[path = "stuck/streams.rs"]
mod streams;

use std::{sync::atomic::Ordering, time::Duration};

use listbackup_connectors::ErrorKind::{self, BadAnswer, RateLimited, Retry};
use serde_json::{Value, json};
use tokio::time::Instant;

use self::{
    server::{Answers, Reply, Then, answer, gzipped, page, raw, serve},
    streams::{
        by_cursor, by_grant, by_link, by_login, by_number, by_report, children, of_the_whole_answer, requester, signed,
        with,
    },
};
use crate::kit::{Reading, connect, read};

async fn things(stream: Value, answers: Answers) -> (Reading, usize, u64) {
    let (base, asked) = serve(answers).await;
    let manifest = json!({
        "version": "7.0.0", "type": "DeclarativeSource", "streams": [stream],
        "check": {"type": "CheckStream", "stream_names": ["things"]},
    });
    let connector = connect(&manifest.to_string(), json!({ "base_url": base })).unwrap();
    let began = Instant::now();
    let reading = read(&connector, "things", None, None).await;
    (reading, asked.load(Ordering::SeqCst), began.elapsed().as_secs())
}

struct Case {
    what: &'static str,
    stream: fn() -> Value,
    answers: Answers,
    fails: (ErrorKind, &'static str),
    /// Most requests, and most seconds.
    within: (usize, u64),
}

const fn case(
    what: &'static str,
    stream: fn() -> Value,
    answers: Answers,
    fails: (ErrorKind, &'static str),
    within: (usize, u64),
) -> Case {
    Case { what, stream, answers, fails, within }
}

const IN_CIRCLES: &[Case] = &[
    case(
        "the same token for ever",
        by_cursor,
        |n, _| page(json!({"data": [{"id": n}], "next": "again"})),
        (BadAnswer, "the same page token twice"),
        (2, 0),
    ),
    case(
        "two tokens that take turns",
        by_cursor,
        |n, _| page(json!({"data": [{"id": n}], "next": (["a", "b"][n % 2])})),
        (BadAnswer, "the same page token twice"),
        (3, 0),
    ),
    case(
        "a cursor that grows and brings the same page",
        by_cursor,
        |n, _| page(json!({"data": [{"id": 1}], "next": "x".repeat(n + 1)})),
        (BadAnswer, "the same page again and again"),
        (3, 0),
    ),
    case(
        "empty pages with a next one",
        by_cursor,
        |n, _| page(json!({"data": [], "next": n + 1})),
        (BadAnswer, "nothing new is on them"),
        (5_000, 0),
    ),
    case(
        "a next link to itself",
        by_link,
        |n, target| page(json!({"data": [{"id": n}], "next": target})),
        (BadAnswer, "the same page token twice"),
        (3, 0),
    ),
    case(
        "a next link in which only the query changes",
        by_link,
        |n, _| page(json!({"data": [{"id": 1}, {"id": 2}], "next": format!("/things?at={n}")})),
        (BadAnswer, "the same page again and again"),
        (3, 0),
    ),
    case(
        "a page for every number, with the time of day in it",
        by_number,
        |n, _| page(json!({"at": n, "data": [{"id": 1}], "request": format!("r-{n}")})),
        (BadAnswer, "the same page again and again"),
        (3, 0),
    ),
    case(
        "a token as long as a page",
        by_cursor,
        |n, _| page(json!({"data": [{"id": n}], "next": "x".repeat(1 << 20)})),
        (ErrorKind::Invalid, "cannot be built"),
        (1, 0),
    ),
    case(
        "a parent that repeats itself",
        || children(with(by_number(), json!({"name": "parents"}))),
        |n, _| page(json!({"at": n, "data": [{"id": 1}]})),
        (BadAnswer, "the same page again and again"),
        (9, 0),
    ),
    case(
        "a parent of empty pages",
        || children(with(by_cursor(), json!({"name": "parents"}))),
        |n, _| page(json!({"data": [], "next": n + 1})),
        (BadAnswer, "nothing new is on them"),
        (5_000, 0),
    ),
    case(
        "redirects without end",
        by_cursor,
        |n, _| answer(&format!("302 Found\r\nlocation: /things?{n}"), ""),
        (BadAnswer, "gave up after 10 redirects"),
        (11, 0),
    ),
];

const NOT_AN_ANSWER: &[Case] = &[
    case(
        "an error in a good answer",
        by_cursor,
        |_, _| page(json!({"error": {"message": "no"}})),
        (BadAnswer, "tells an error in `error`"),
        (1, 0),
    ),
    case(
        "an error in place of the one record",
        of_the_whole_answer,
        |_, _| page(json!({"error": "no", "status": 401})),
        (BadAnswer, "tells an error in `error`"),
        (1, 0),
    ),
    case(
        "a page for people",
        by_cursor,
        |_, _| answer("200 OK", "<html>Sign in</html>"),
        (BadAnswer, "not JSON"),
        (1, 0),
    ),
    case("a word", by_cursor, |_, _| answer("200 OK", "Busy"), (BadAnswer, "not JSON"), (1, 0)),
    case("no body", by_cursor, |_, _| answer("200 OK", ""), (BadAnswer, "not JSON"), (1, 0)),
    case(
        "half a body",
        by_cursor,
        |_, _| raw("200 OK\r\ncontent-length: 100", b"{\"data\": [{\"id\": 1}", Then::Close),
        (Retry, "broke off"),
        (6, 60),
    ),
    case(
        "a length that is too short",
        by_cursor,
        |_, _| raw("200 OK\r\ncontent-length: 9", b"{\"data\": [{\"id\": 1}]}", Then::Close),
        (BadAnswer, "not JSON"),
        (1, 0),
    ),
    case(
        "half of a compressed body",
        by_cursor,
        |_, _| {
            let body = gzipped(json!({"data": [{"id": 1}]}).to_string().as_bytes());
            let half = &body[..body.len() - 12];
            raw(&format!("200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}", half.len()), half, Then::NextRequest)
        },
        (Retry, "damaged"),
        (6, 60),
    ),
];

const WITHOUT_END: &[Case] = &[
    case(
        "a gibibyte that is announced",
        by_cursor,
        |_, _| raw("200 OK\r\ncontent-length: 1073741824", b"{", Then::Endless),
        (BadAnswer, "larger than 67108864 bytes"),
        (1, 0),
    ),
    case(
        "a body without end",
        by_cursor,
        |_, _| raw("200 OK\r\nconnection: close", b"{", Then::Endless),
        (BadAnswer, "larger than 67108864 bytes"),
        (1, 0),
    ),
    case(
        "a body that unpacks to a hundred times its length",
        by_cursor,
        |_, _| {
            let body = gzipped(&vec![b' '; 65 << 20]);
            raw(
                &format!("200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}", body.len()),
                &body,
                Then::NextRequest,
            )
        },
        (BadAnswer, "larger than 67108864 bytes"),
        (1, 0),
    ),
    case(
        "a body that trickles",
        by_cursor,
        |_, _| raw("200 OK\r\ncontent-length: 100000", b"{", Then::Trickle),
        (Retry, "not complete after 300 s"),
        (2, 660),
    ),
    case(
        "silence",
        by_cursor,
        |_, _| Reply(Vec::new(), Then::Silence),
        (Retry, "no answer began within 90 s"),
        (6, 660),
    ),
    case(
        "a pause of a year",
        by_cursor,
        |_, _| answer("429 Too Many Requests\r\nretry-after: 31536000", ""),
        (RateLimited, "asks for a pause"),
        (1, 0),
    ),
    case(
        "a pause of a year, by another status",
        by_cursor,
        |_, _| answer("503 Service Unavailable\r\nretry-after: 31536000", ""),
        (Retry, "in trouble"),
        (1, 0),
    ),
    case(
        "pauses without end",
        by_cursor,
        |_, _| answer("429 Too Many Requests", ""),
        (RateLimited, "asks for a pause"),
        (6, 60),
    ),
    case(
        "pauses of no time without end",
        by_cursor,
        |_, _| answer("429 Too Many Requests\r\nretry-after: 0", ""),
        (RateLimited, "asks for a pause"),
        (6, 60),
    ),
];

const SIGN_IN: &[Case] = &[
    case("a login page", by_login, |_, _| answer("200 OK", "<html>"), (BadAnswer, "login answer is not JSON"), (1, 0)),
    case("a login without a token", by_login, |_, _| page(json!({"ok": true})), (BadAnswer, "no token at"), (1, 0)),
    case("a login that is busy for ever", by_login, |_, _| answer("503 x", ""), (Retry, "in trouble"), (6, 60)),
    case(
        "a login that trickles",
        by_login,
        |_, _| raw("200 OK\r\ncontent-length: 100000", b"{", Then::Trickle),
        (Retry, "not complete after 300 s"),
        (2, 660),
    ),
    case("a token page", by_grant, |_, _| answer("200 OK", "<html>"), (BadAnswer, "JSON"), (1, 0)),
    case("no token", by_grant, |_, _| page(json!({"expires_in": 1})), (BadAnswer, "access_token"), (1, 0)),
    case(
        "a token endpoint that never answers",
        by_grant,
        |_, _| Reply(Vec::new(), Then::Silence),
        (Retry, "no answer began within 90 s"),
        (6, 700),
    ),
    case(
        "a token endpoint that asks for pauses for ever",
        by_grant,
        |_, _| answer("429 x\r\nretry-after: 100", ""),
        (RateLimited, "asks for a pause"),
        (7, 700),
    ),
    case(
        "a token endpoint that goes in circles",
        by_grant,
        |_, _| answer("302 x\r\nlocation: /token", ""),
        (BadAnswer, "gave up after 10 redirects"),
        (11, 0),
    ),
];

async fn every_case_ends(cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        // In a run, whoever reads the pages gives up after a quarter of an hour: no request may take longer.
        let (reading, requests, seconds) = things((case.stream)(), case.answers).await;
        let ended = match &reading.end {
            Err(error) if error.kind() == case.fails.0 && error.to_string().contains(case.fails.1) => None,
            Err(error) => Some(format!("{:?}: {error}", error.kind())),
            Ok(_) => Some(format!("well, with {} records", reading.records.len())),
        };
        let is_within = requests <= case.within.0 && seconds <= case.within.1;
        if ended.is_some() || !is_within {
            let ended = ended.unwrap_or_default();
            wrong.push(format!("{}: {requests} requests in {seconds} s; it ended {ended}", case.what));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_product_that_goes_in_circles_is_noticed() {
    every_case_ends(IN_CIRCLES).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_is_never_taken_for_an_empty_one() {
    every_case_ends(NOT_AN_ANSWER).await;
}

#[tokio::test(start_paused = true)]
async fn what_never_ends_is_cut() {
    every_case_ends(WITHOUT_END).await;
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_that_is_stuck_ends_as_well() {
    every_case_ends(SIGN_IN).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_lasts_longer_than_time_is_used() {
    let answers: Answers = |_, target| match target {
        "/token" => page(json!({"access_token": "t", "expires_in": 1e18})),
        "/login" => page(json!({"token": "t"})),
        _ => page(json!({"data": [{"id": 1}]})),
    };
    for stream in [by_grant(), by_login()] {
        let (reading, requests, _) = things(stream, answers).await;
        assert_eq!((reading.records.len(), requests), (1, 2), "{:?}", reading.end);
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_that_needs_a_login_does_not_wait_for_itself() {
    let first = json!({
        "type": "SessionTokenAuthenticator", "login_requester": requester("first"), "session_token_path": ["token"],
        "expiration_duration": "PT1H", "request_authentication": {"type": "Bearer"},
    });
    let second = json!({
        "type": "SessionTokenAuthenticator", "login_requester": with(requester("second"), json!({ "authenticator": first })),
        "session_token_path": ["token"], "expiration_duration": "PT1H", "request_authentication": {"type": "Bearer"},
    });
    let answers: Answers = |_, _| page(json!({"token": "t", "data": [{"id": 1}]}));
    let read = tokio::time::timeout(Duration::from_secs(60), things(signed(second), answers)).await;
    let (reading, requests, _) = read.expect("it ends");
    assert_eq!((reading.records.len(), requests), (1, 3), "{:?}", reading.end);
}

#[tokio::test(start_paused = true)]
async fn a_report_that_is_never_ready_is_a_part_not_read() {
    for (state, seconds_max) in [("running", 3 * 600 + 60), ("failed", 60)] {
        let answers: Answers = match state {
            "running" => |_, _| page(json!({"state": "running"})),
            _ => |_, _| page(json!({"state": "failed"})),
        };
        let (reading, _, seconds) = things(by_report(), answers).await;
        let end = reading.end.unwrap();
        assert!(!end.is_full && seconds <= seconds_max, "{state}: {seconds} s, {end:?}");
        assert!(end.failed_items[0].reason.contains("failed 3 times"), "{state}: {:?}", end.failed_items);
    }
}
