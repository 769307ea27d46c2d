//! Letters by SES.

use listbackup_engine::{
    ErrorKind,
    adapters::aws::{AwsClients, AwsOptions, AwsSettings, SesMail},
    ports::{Letter, Mail},
};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use crate::{
    aws,
    servers::aws::{StandIn, options},
};

const FROM: &str = "letters@example.com";

fn letter() -> Letter {
    let text = "Code: 123\n\nGrüße\n".to_owned();
    let html = "<p>Code: 123<p>Grüße".to_owned();
    Letter { to: "ada@example.com".to_owned(), subject: "You are invited".to_owned(), text, html }
}

async fn mail(url: &str, mail_from: Option<&str>) -> SesMail {
    let settings =
        AwsSettings::new(AwsOptions { mail_from: mail_from.map(ToOwned::to_owned), ..options(url.to_owned()) });
    let settings = settings.expect("the settings are right");
    SesMail::new(&AwsClients::new(&settings).await, &settings)
}

#[tokio::test]
async fn a_verified_sender_sends_on_both_stand_ins() {
    for stand_in in [StandIn::MiniStack, StandIn::Moto] {
        let Some(aws) = aws(stand_in).await else { return };
        let verified = aws.clients.ses.create_email_identity().email_identity(FROM).send().await;
        verified.expect("the stand-in verifies at once");
        let url = aws.settings.endpoint_url().expect("a stand-in has an address");
        mail(url, Some(FROM)).await.send(&letter()).await.expect("sent");
    }
}

#[tokio::test]
async fn a_letter_is_sent_as_it_was_written() {
    let ses = MockServer::start().await;
    let sent = ResponseTemplate::new(200).set_body_json(json!({ "MessageId": "1" }));
    Mock::given(matchers::path("/v2/email/outbound-emails")).respond_with(sent).mount(&ses).await;
    mail(&ses.uri(), Some(FROM)).await.send(&letter()).await.expect("sent");
    let requests = ses.received_requests().await.expect("they are recorded");
    let body: Value = requests[0].body_json().expect("JSON");
    let content = |data: &str| json!({ "Data": data, "Charset": "UTF-8" });
    let simple = json!({
        "Subject": content("You are invited"),
        "Body": { "Text": content("Code: 123\n\nGrüße\n"), "Html": content("<p>Code: 123<p>Grüße") },
    });
    assert_eq!(
        (&body["FromEmailAddress"], &body["Destination"], &body["Content"]["Simple"]),
        (&json!(FROM), &json!({ "ToAddresses": ["ada@example.com"] }), &simple)
    );
}

#[tokio::test]
async fn what_cannot_be_sent_says_why() {
    let error = mail("http://127.0.0.1:1", None).await.send(&letter()).await.expect_err("nobody sends");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("LISTBACKUP_MAIL_FROM"), "{error}");
    for (status, code, kind) in [
        (400, "MessageRejected", ErrorKind::Invalid),
        (400, "MailFromDomainNotVerifiedException", ErrorKind::Invalid),
        (429, "TooManyRequestsException", ErrorKind::Retry),
    ] {
        let ses = MockServer::start().await;
        let refused = ResponseTemplate::new(status)
            .insert_header("x-amzn-errortype", code)
            .set_body_json(json!({ "message": "as told" }));
        Mock::given(matchers::any()).respond_with(refused).mount(&ses).await;
        let error = mail(&ses.uri(), Some(FROM)).await.send(&letter()).await.expect_err("refused");
        assert_eq!(error.kind(), kind, "{code}: {error}");
    }
}
