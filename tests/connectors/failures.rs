//! What is refused before any request, and what becomes of failed requests.

use std::sync::atomic::{AtomicU32, Ordering};

use listbackup_connectors::{ErrorKind, Integration, SignIn, manifest::ManifestIntegration};
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::kit::{at, connect, json_answer, manifest, product, read};

fn stream(extra: &str) -> String {
    manifest(&format!(
        "  - type: DeclarativeStream\n    name: things\n    retriever:\n      type: SimpleRetriever\n      requester:\n        type: \
         HttpRequester\n        url_base: \"{{{{ config['base_url'] }}}}\"\n        path: /things\n{extra}      record_selector: {{type: \
         RecordSelector, extractor: {{type: DpathExtractor, field_path: []}}}}\n"
    ))
}

#[test]
fn every_problem_of_a_manifest_is_told_at_once_with_line_and_path() {
    let text = "type: DeclarativeSource
check: {type: CheckStream, stream_names: [a]}
streams:
  - type: DeclarativeStream
    name: a
    retriever:
      type: SimpleRetriever
      requester: {type: HttpRequester, url_base: \"https://a.example/{{ conifg['x'] }}\", authenticator: {type: MagicAuthenticator}}
      record_selector: {type: RecordSelector, extractor: {type: CustomRecordExtractor, class_name: source_declarative_manifest.components.Odd}}
";
    let error = ManifestIntegration::parse("a", "manifest.yaml", text).err().unwrap();
    let told: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 3, "{told:#?}");
    for part in [
        "manifest.yaml:8:50 streams[0].retriever.requester.url_base",
        "nothing is called `conifg` here",
        "{{ conifg['x'] }}",
    ] {
        assert!(told[0].contains(part), "{} lacks {part}", told[0]);
    }
    assert!(
        told.iter().any(|problem| problem.contains("`MagicAuthenticator` is not supported as authenticator")),
        "{told:#?}"
    );
    assert!(told.iter().any(|problem| problem.contains("components.Odd")), "{told:#?}");
}

#[test]
fn a_template_that_cannot_be_read_is_found_at_load() {
    let error = ManifestIntegration::parse(
        "a",
        "manifest.yaml",
        &stream("        request_parameters: {q: \"{{ config['x' }}\"}\n"),
    )
    .err()
    .unwrap();
    assert!(
        error.to_string().contains("request_parameters.q") && error.to_string().contains("{{ config['x' }}"),
        "{error}"
    );
}

#[test]
fn what_would_lose_records_in_silence_is_refused_at_load() {
    let twice =
        stream("").replace("\nspec:", "\n  - *again\nspec:").replace("  - type: Decl", "  - &again\n    type: Decl");
    let pattern = stream("").replace("field_path: []", "field_path: ['data*']");
    let without_check = stream("").replace("check: ", "unchecked: ");
    for (text, told) in [
        (&twice, "several streams have the same name"),
        (&pattern, "the pattern `data*` in `field_path` is not supported"),
        (&without_check, "check"),
    ] {
        let error = ManifestIntegration::parse("a", "manifest.yaml", text).err().expect("it is refused").to_string();
        assert!(error.contains(told), "{error}");
    }
}

#[test]
fn missing_settings_are_named_before_any_request() {
    let error = connect(&stream(""), json!({"base_url": 5})).err().unwrap();
    assert_eq!((error.kind(), error.problems()[0].place.as_str()), (ErrorKind::Invalid, "/base_url"));
}

#[test]
fn the_sign_in_follows_from_the_specification() {
    let sign_in = |text: &str| ManifestIntegration::parse("a", "manifest.yaml", text).unwrap().spec().sign_in.clone();
    assert_eq!(sign_in(&stream("")), SignIn::None);
    let secret = stream("").replace("base_url: {type: string}", "base_url: {type: string, airbyte_secret: true}");
    assert_eq!(sign_in(&secret), SignIn::Settings);
}

#[tokio::test]
async fn a_busy_product_is_asked_again_and_a_refusal_ends_the_stream() {
    let tries = AtomicU32::new(0);
    let server = product(move |_| match tries.fetch_add(1, Ordering::SeqCst) {
        0 => ResponseTemplate::new(503).insert_header("retry-after", "1.2"),
        _ => json_answer(json!([{"id": 1}])),
    })
    .await;
    let begun = tokio::time::Instant::now();
    let reading = read(&connect(&stream(""), at(&server)).unwrap(), "things", None, None).await;
    assert_eq!((reading.records.len(), reading.end.unwrap().requests), (1, 2));
    assert!(
        begun.elapsed().as_millis() >= 1200,
        "the manifest says nothing of Retry-After, and it counts all the same"
    );

    let server = product(|_| ResponseTemplate::new(403)).await;
    let error = read(&connect(&stream(""), at(&server)).unwrap(), "things", None, None).await.end.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn a_refusal_that_the_manifest_ignores_is_reported_as_a_part_not_read() {
    let handler = "        error_handler: {type: DefaultErrorHandler, response_filters: [{type: HttpResponseFilter, action: IGNORE, http_codes: [403]}]}\n";
    let server = product(|_| ResponseTemplate::new(403)).await;
    let end = read(&connect(&stream(handler), at(&server)).unwrap(), "things", None, None).await.end.unwrap();
    assert!(!end.is_full && end.failed_items.len() == 1, "{end:?}");
}

#[tokio::test]
async fn a_check_tries_the_named_streams() {
    let server = product(|_| json_answer(json!([]))).await;
    connect(&stream(""), at(&server)).unwrap().check().await.unwrap();
    let server = product(|_| ResponseTemplate::new(401)).await;
    let error = connect(&stream(""), at(&server)).unwrap().check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reauthorise);
}

/// Two streams that are sound, and further ones.
fn beside_sound_ones(others: &[serde_json::Value]) -> String {
    let stream = |name: &str| {
        json!({"type": "DeclarativeStream", "name": name, "primary_key": "id", "retriever": {
            "type": "SimpleRetriever", "requester": {"type": "HttpRequester", "url_base": "{{ config['base_url'] }}", "path": name},
            "record_selector": {"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": []}},
        }})
    };
    let streams: Vec<_> = [stream("things"), stream("others")].into_iter().chain(others.iter().cloned()).collect();
    serde_json::to_string_pretty(&json!({
        "type": "DeclarativeSource", "check": {"type": "CheckStream", "stream_names": ["things"]}, "streams": streams,
    }))
    .unwrap()
}

fn odd(name: &str, requester: serde_json::Value, selector: serde_json::Value) -> serde_json::Value {
    json!({"type": "DeclarativeStream", "name": name, "primary_key": "key", "retriever":
        {"type": "SimpleRetriever", "requester": requester, "record_selector": selector}})
}

/// Four streams that are wrong, each in its own way, behind two that are sound.
fn with_wrong_ones() -> String {
    let selector = json!({"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": []}});
    let requester = |more: serde_json::Value| {
        let mut requester = json!({"type": "HttpRequester", "url_base": "{{ config['base_url'] }}", "path": "odd"});
        requester.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        requester
    };
    let bad = odd("odd", requester(json!({"request_parameters": {"q": "{{ conifg.x }}"}})), selector.clone());
    let mut child = odd("child", requester(json!({})), selector.clone());
    child["retriever"]["partition_router"] = json!({"type": "SubstreamPartitionRouter", "parent_stream_configs": [
        {"type": "ParentStreamConfig", "parent_key": "id", "partition_field": "p", "stream": {"$ref": "#/streams/2"}},
    ]});
    let signed = odd("signed", requester(json!({"authenticator": {"type": "HmacAuthenticator"}})), selector);
    let extractor = json!({"type": "CustomRecordExtractor", "class_name": "source_x.components.Odd"});
    let custom = odd("custom", requester(json!({})), json!({"type": "RecordSelector", "extractor": extractor}));
    beside_sound_ones(&[bad, child, signed, custom])
}

#[test]
fn what_is_wrong_with_a_stream_is_told_with_line_and_path() {
    let text = with_wrong_ones();
    let integration = ManifestIntegration::parse("test", "shop.yaml", &text).unwrap();
    let told: Vec<String> = integration.broken().map(|(name, problems)| format!("{name}: {}", problems[0])).collect();
    for (at, parts) in [
        ["odd: shop.yaml:", "streams[2].retriever.requester.request_parameters.q", "nothing is called `conifg`"],
        ["child: shop.yaml:", "streams[3]", "cannot be read"],
        ["signed: shop.yaml:", "streams[4].retriever.requester.authenticator", "`HmacAuthenticator` is not supported"],
        ["custom: shop.yaml:", "streams[5].retriever.record_selector.extractor", "components.Odd"],
    ]
    .iter()
    .enumerate()
    {
        assert!(parts.iter().all(|part| told[at].contains(part)), "{} lacks one of {parts:?}", told[at]);
    }
    let report = listbackup_connectors::manifest::compat::compat("shop.yaml", &text);
    assert!(!report.runs && report.findings.iter().any(|finding| finding.message.contains("conifg")), "{report:?}");
}

#[tokio::test]
async fn a_stream_that_is_wrong_is_listed_and_fails_and_the_others_are_read() {
    let server = product(|_| json_answer(json!([{"id": 1}]))).await;
    let connector = connect(&with_wrong_ones(), at(&server)).unwrap();
    let catalog = connector.discover().await.unwrap();
    let names: Vec<_> = catalog.streams.iter().map(|stream| (stream.name.as_str(), stream.primary_key.len())).collect();
    assert_eq!(names, [("things", 1), ("others", 1), ("odd", 1), ("child", 1), ("signed", 1), ("custom", 1)]);
    connector.check().await.unwrap();
    for name in ["things", "others"] {
        assert_eq!(read(&connector, name, None, None).await.ids(), ["1"]);
    }
    for (name, part) in
        [("odd", "conifg"), ("child", "cannot be read"), ("signed", "Hmac"), ("custom", "components.Odd")]
    {
        let error = read(&connector, name, None, None).await.end.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error}");
        assert!(error.to_string().contains(part) && error.to_string().contains(name), "{name}: {error}");
    }
}

#[test]
fn what_concerns_every_stream_refuses_the_manifest() {
    let nameless = json!({"type": "DeclarativeStream", "retriever": {"type": "SimpleRetriever"}});
    let twice = odd("things", json!({"type": "Odd"}), json!({}));
    let sound = beside_sound_ones(&[]);
    for (text, told) in [
        (beside_sound_ones(&[nameless]), "needs `name`"),
        (beside_sound_ones(&[twice]), "several streams have the same name"),
        (sound.replace("config['base_url']", "conifg['base_url']"), "nothing is called `conifg`"),
        (sound.replace("\"CheckStream\"", "\"CheckNothing\""), "CheckNothing"),
    ] {
        let error = ManifestIntegration::parse("test", "shop.yaml", &text).err().expect(told).to_string();
        assert!(error.contains(told), "{told}: {error}");
    }
}
