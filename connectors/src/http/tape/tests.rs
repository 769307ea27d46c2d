//! What is recorded, what is never recorded, and what a recording answers.

use std::{fs, path::Path, sync::Arc};

use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use super::*;
use crate::{
    ErrorKind,
    http::{AddressGuard, HttpClient, HttpClientBuilder, Request, Wire},
};

fn secrets(key: &str) -> Arc<Secrets> {
    let schema = json!({"properties": {"key": {"airbyte_secret": true}, "note": {}}});
    Arc::new(Secrets::of_settings(&schema, &json!({"key": key, "note": "plain"})))
}

fn client(wire: Wire) -> HttpClient {
    let guard = AddressGuard::allowing(vec!["127.0.0.0/8".parse().unwrap()]);
    HttpClientBuilder { wire, ..HttpClientBuilder::new(guard) }.build().unwrap()
}

fn recording(folder: &Path) -> HttpClient {
    client(Wire::default().recording(Recorder::new(folder, secrets("live-secret-1")).unwrap()))
}

fn replaying(folder: &Path, key: &str) -> HttpClient {
    client(Wire::default().replaying(Replay::read(folder, secrets(key)).unwrap()))
}

fn get(address: &str) -> Request {
    Request::get(address.parse().unwrap())
}

fn everything(folder: &Path) -> String {
    let files = replay::files(folder).unwrap();
    files.iter().map(|path| format!("{}\n{}", path.display(), fs::read_to_string(path).unwrap())).collect()
}

async fn product(answers: Vec<ResponseTemplate>) -> MockServer {
    let server = MockServer::start().await;
    for answer in answers {
        Mock::given(any()).respond_with(answer).up_to_n_times(1).mount(&server).await;
    }
    server
}

#[tokio::test]
async fn a_recording_answers_as_the_product_did_and_opens_no_connection() {
    let folder = tempfile::tempdir().unwrap();
    let body = r#"{"data": [{"id": 12345678901234567890123, "x": 1.0}]}"#;
    let answers = vec![
        ResponseTemplate::new(200).set_body_raw(body, "application/json").insert_header("x-total", "1"),
        ResponseTemplate::new(429).insert_header("retry-after", "3"),
        ResponseTemplate::new(200).set_body_string("plain"),
    ];
    let server = product(answers).await;
    let http = recording(folder.path());
    let address = format!("{}/things?b=2&a=1", server.uri());
    for _ in 0..3 {
        http.send_once(get(&address)).await.unwrap();
    }
    let uri = server.uri();
    drop(server);
    let http = replaying(folder.path(), "live-secret-1");
    let turned = format!("{uri}/things?a=1&b=2");
    let first = http.send_once(get(&turned)).await.unwrap();
    assert_eq!((first.status.as_u16(), &first.body[..]), (200, body.as_bytes()));
    assert_eq!(first.headers["x-total"], "1");
    let second = http.send_once(get(&turned)).await.unwrap();
    assert_eq!((second.status.as_u16(), &second.headers["retry-after"]), (429, &"3".parse().unwrap()));
    assert_eq!(&http.send_once(get(&turned)).await.unwrap().body[..], b"plain");
    let error = http.send_once(get(&format!("{uri}/other?a=1"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("/other?a=1"), "{error}");
}

#[tokio::test]
async fn no_secret_is_ever_written_wherever_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = json!({"access_token": "fresh-access", "refresh_token": "fresh-refresh", "id": "session-0123456789"});
    let echo = json!({"seen": "live-secret-1 and fresh-access", "next_page_token": "page-two-of-many"});
    let answers = vec![
        ResponseTemplate::new(200).set_body_json(tokens).insert_header("set-cookie", "sid=cookie-secret"),
        ResponseTemplate::new(200).set_body_json(echo).insert_header("link", "<http://a/?key=live-secret-1>"),
    ];
    let server = product(answers).await;
    let http = recording(folder.path());
    let form = "refresh_token=live-secret-1&grant_type=refresh_token";
    let sign_in = Request::post(
        format!("{}/oauth/token", server.uri()).parse().unwrap(),
        "application/x-www-form-urlencoded",
        form,
    );
    http.send_once(sign_in).await.unwrap();
    let address = format!("{}/live-secret-1/x?key=live-secret-1&at=header-only-secret", server.uri());
    let request = get(&address).with_secret("x-key".parse().unwrap(), "header-only-secret").unwrap();
    http.send_once(request).await.unwrap();
    let written = everything(folder.path());
    for secret in
        ["live-secret-1", "fresh-access", "fresh-refresh", "session-0123456789", "cookie-secret", "header-only-secret"]
    {
        assert!(!written.contains(secret), "{secret} is in {written}");
    }
    assert!(written.contains("SECRET-key") && written.contains("page-two-of-many"), "{written}");
    assert!(written.contains("0001-POST-oauth-token.json"), "{written}");

    // With another secret, and with the tokens that the recording itself gives, the requests are the same.
    let http = replaying(folder.path(), "another-secret");
    let address = address.replace("live-secret-1", "another-secret").replace("header-only-secret", &word(&written));
    http.send_once(get(&address)).await.unwrap();
}

#[tokio::test]
async fn what_is_marked_and_no_credential_stays_in_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let echo = json!({"made_by": "2024-06-20", "key": "write-number-1", "token": "live-token-0001"});
    let server = product(vec![ResponseTemplate::new(200).set_body_json(echo)]).await;
    let http = recording(folder.path());
    let marked =
        [("stripe-version", "2024-06-20"), ("idempotency-key", "write-number-1"), ("x-token", "live-token-0001")];
    let request = marked
        .into_iter()
        .fold(get(&server.uri()), |request, (name, value)| request.with_secret(name.parse().unwrap(), value).unwrap());
    http.send_once(request).await.unwrap();
    let written = everything(folder.path());
    assert!(written.contains("2024-06-20") && written.contains("write-number-1"), "{written}");
    assert!(!written.contains("live-token-0001"), "{written}");
}

/// The word that stands for the secret of the header.
fn word(written: &str) -> String {
    let start = written.find("at=SECRET-").unwrap() + 3;
    written[start..].split(['"', '&']).next().unwrap().to_owned()
}

#[test]
fn requests_are_the_same_by_method_address_query_as_a_set_and_body() {
    let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
    let asked =
        |url: &str, body: Option<Value>| Asked { method: "GET".into(), url: url.into(), body }.identity(Some(now));
    assert_eq!(asked("http://a/x?a=1&b=2", None), asked("http://a/x?b=2&a=1", None));
    assert_ne!(asked("http://a/x?a=1", None), asked("http://a/x?a=2", None));
    assert_ne!(asked("http://a/x", None), asked("http://a/y", None));
    assert_eq!(asked("http://a/x", Some(json!({"a": 1, "b": 2}))), asked("http://a/x", Some(json!({"b": 2, "a": 1}))));
    assert_ne!(asked("http://a/x", Some(json!({"a": 1}))), asked("http://a/x", Some(json!({"a": 2}))));
    // A time that is not about now is a number like any other, also in what was written down without its time.
    let number =
        Asked { method: "GET".into(), url: "http://a/x".into(), body: Some(json!({"after": 1709280000001_i64})) };
    assert_eq!(number.identity(None), number.identity(Some(now)));
    // What asks for everything until now is the same request a little later, and no other.
    let until = |time: &str| asked(&format!("http://a/x?until={time}"), None);
    assert_eq!(until("2026-11-22T10:00:00Z"), until("2026-11-22T09:59:00Z"));
    assert_eq!(until("1795341600"), until("1795341599"));
    assert_ne!(until("2026-11-22T10:00:00Z"), until("2026-11-20T10:00:00Z"));
}
