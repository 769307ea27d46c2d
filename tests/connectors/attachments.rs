//! Attachments: named by pages, opened one by one, resumed where they broke off, and never with credentials to strangers.

use std::sync::Arc;

use futures::TryStreamExt;
use listbackup_connectors::{Attachment, AttachmentRequest, Connector, ErrorKind, Page, ResumeAt};
use serde_json::json;
use wiremock::ResponseTemplate;

use crate::kit::{at, connect, json_answer, manifest, product, read};

/// A stream `things` with attachments as `extra` says; indented by two.
fn things(extra: &str) -> String {
    manifest(&format!(
        r#"
  - type: DeclarativeStream
    name: things
    primary_key: id
    retriever:
      type: SimpleRetriever
      requester: {{type: HttpRequester, url_base: "{{{{ config['base_url'] }}}}", path: /things}}
      record_selector: {{type: RecordSelector, extractor: {{type: DpathExtractor, field_path: []}}}}
    schema_loader: {{type: InlineSchemaLoader, schema: {{type: object}}}}
{extra}"#
    ))
}

const OWN: &str = r#"    x-listbackup:
      attachments:
        field_path: [files, "*"]
        id: "{{ attachment.id }}"
        name: "{{ attachment.name }}"
        size: "{{ attachment.size }}"
        version: "{{ attachment.etag }}"
        requester:
          type: HttpRequester
          url_base: "{{ config['base_url'] }}"
          path: "/files/{{ attachment.id }}"
          authenticator: {type: BearerAuthenticator, api_token: hunter2}
"#;

const PUBLISHED: &str = r#"    file_uploader:
      type: FileUploader
      requester:
        type: HttpRequester
        url_base: "{{ download_target }}"
        AUTH
      download_target_extractor: {type: DpathExtractor, field_path: [content_url]}
      filename_extractor: "{{ record.id }}/{{ record.file_name }}"
"#;

async fn page_of(connector: &Arc<dyn Connector>) -> Page {
    let mut reading = read(connector, "things", None, None).await;
    assert!(reading.end.is_ok(), "{:?}", reading.end);
    reading.pages.remove(0)
}

async fn request(
    connector: &Arc<dyn Connector>,
    attachment: &Attachment,
    resume: Option<ResumeAt>,
) -> AttachmentRequest {
    let stream = Arc::new(connector.discover().await.unwrap().streams.remove(0));
    AttachmentRequest { stream, locator: attachment.locator.clone(), resume }
}

#[tokio::test]
async fn a_page_names_every_attachment_of_its_records_and_each_can_be_opened() {
    let server = product(|request| match request.url.path() {
        "/things" => json_answer(json!([
            {"id": 1, "files": [{"id": 7, "name": "a.txt", "size": 5, "etag": "x1"}, {"id": 8, "name": "b.txt"}]},
            {"id": 2, "files": []},
            {"id": 3},
        ])),
        "/files/7" => ResponseTemplate::new(200)
            .insert_header("etag", "\"x1\"")
            .set_body_raw("seven", "text/plain; charset=utf-8"),
        _ => ResponseTemplate::new(404),
    })
    .await;
    let connector = connect(&things(OWN), at(&server)).unwrap();
    let page = page_of(&connector).await;
    let named: Vec<_> = page.attachments.iter().map(|found| (found.record, &*found.id, &*found.name)).collect();
    assert_eq!(named, [(0, "7", "a.txt"), (0, "8", "b.txt")]);
    let seven = &page.attachments[0];
    assert_eq!((seven.size_bytes, seven.version.as_deref()), (Some(5), Some("x1")));
    assert_eq!((page.attachments[1].size_bytes, page.attachments[1].version.as_deref()), (None, None));

    let body = connector.open_attachment(request(&connector, seven, None).await).await.unwrap();
    assert_eq!((body.offset_bytes, body.media_type.as_deref()), (0, Some("text/plain")));
    assert_eq!(body.validator, None, "this product does not offer ranges");
    let bytes: Vec<bytes::Bytes> = body.bytes.try_collect().await.unwrap();
    assert_eq!(bytes.concat(), b"seven");
    let gone = connector.open_attachment(request(&connector, &page.attachments[1], None).await).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_broken_download_goes_on_only_in_the_very_same_content() {
    let server = product(|request| {
        let header = |name: &str| request.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        match request.url.path() {
            "/things" => json_answer(json!([{"id": 1, "files": [{"id": 7}]}])),
            _ if header("range").as_deref() == Some("bytes=2-") && header("if-range").as_deref() == Some("\"x1\"") => {
                let answer = ResponseTemplate::new(206).insert_header("etag", "\"x1\"");
                answer.insert_header("content-range", "bytes 2-4/5").set_body_string("ven")
            }
            _ => {
                let answer = ResponseTemplate::new(200).insert_header("etag", "\"x1\"");
                answer.insert_header("accept-ranges", "bytes").set_body_string("seven")
            }
        }
    })
    .await;
    let connector = connect(&things(OWN), at(&server)).unwrap();
    let page = page_of(&connector).await;
    let whole = connector.open_attachment(request(&connector, &page.attachments[0], None).await).await.unwrap();
    let validator = whole.validator.unwrap();
    let resume = |validator: &str| Some(ResumeAt { offset_bytes: 2, validator: validator.to_owned() });
    let rest = request(&connector, &page.attachments[0], resume(&validator)).await;
    let rest = connector.open_attachment(rest).await.unwrap();
    assert_eq!(rest.offset_bytes, 2);
    let bytes: Vec<bytes::Bytes> = rest.bytes.try_collect().await.unwrap();
    assert_eq!(bytes.concat(), b"ven");
    let other = request(&connector, &page.attachments[0], resume("\"x0\"")).await;
    assert_eq!(connector.open_attachment(other).await.unwrap().offset_bytes, 0);
}

#[tokio::test]
async fn a_download_that_broke_off_when_all_had_come_begins_anew_and_is_not_asked_for_in_vain() {
    let server = product(|request| match request.url.path() {
        "/things" => json_answer(json!([{"id": 1, "files": [{"id": 7}]}])),
        _ if request.headers.contains_key("range") => ResponseTemplate::new(416),
        _ => ResponseTemplate::new(200).insert_header("etag", "\"x1\"").set_body_string("seven"),
    })
    .await;
    let connector = connect(&things(OWN), at(&server)).unwrap();
    let page = page_of(&connector).await;
    let resume = Some(ResumeAt { offset_bytes: 5, validator: "\"x1\"".to_owned() });
    let anew = connector.open_attachment(request(&connector, &page.attachments[0], resume).await).await.unwrap();
    assert_eq!(anew.offset_bytes, 0);
    let bytes: Vec<bytes::Bytes> = anew.bytes.try_collect().await.unwrap();
    assert_eq!(bytes.concat(), b"seven");
    let opened = server.received_requests().await.unwrap().into_iter().filter(|asked| asked.url.path() != "/things");
    assert_eq!(opened.count(), 2);
}

#[tokio::test]
async fn the_published_file_uploader_names_one_attachment_a_record() {
    let server = product(|request| match request.url.path() {
        "/things" => {
            let url = format!("http://{}/blob/1?sig=abc", request.headers["host"].to_str().unwrap());
            json_answer(json!([{"id": 1, "file_name": "a.pdf", "content_url": url}, {"id": 2, "content_url": null}]))
        }
        "/blob/1" => ResponseTemplate::new(200).set_body_string("pdf"),
        _ => ResponseTemplate::new(404),
    })
    .await;
    let connector = connect(&things(&PUBLISHED.replace("AUTH", "http_method: GET")), at(&server)).unwrap();
    let page = page_of(&connector).await;
    assert_eq!(page.attachments.len(), 1);
    let found = &page.attachments[0];
    assert_eq!((found.record, &*found.id, &*found.name), (0, "0", "1/a.pdf"));
    assert!(found.version.is_some(), "an unchanged record has an unchanged file");
    let body = connector.open_attachment(request(&connector, found, None).await).await.unwrap();
    let bytes: Vec<bytes::Bytes> = body.bytes.try_collect().await.unwrap();
    assert_eq!(bytes.concat(), b"pdf");
}

#[tokio::test]
async fn credentials_never_follow_an_attachment_to_another_site() {
    let stranger = product(|_| ResponseTemplate::new(200).set_body_string("give me your key")).await;
    let address = stranger.uri().replace("127.0.0.1", "localhost");
    let listed = format!("{address}/steal");
    let server = product(move |_| json_answer(json!([{"id": 1, "file_name": "a", "content_url": listed}]))).await;
    let signed = PUBLISHED.replace("AUTH", "authenticator: {type: BearerAuthenticator, api_token: hunter2}");
    let connector = connect(&things(&signed), at(&server)).unwrap();
    let page = page_of(&connector).await;
    let refused = connector.open_attachment(request(&connector, &page.attachments[0], None).await).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{refused}");
    assert!(!refused.to_string().contains("hunter2"));
    assert!(stranger.received_requests().await.unwrap().is_empty());
}
