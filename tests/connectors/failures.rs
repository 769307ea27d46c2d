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
