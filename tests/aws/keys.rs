//! Data keys in KMS.

use std::sync::Arc;

use listbackup_engine::{
    ErrorKind,
    adapters::aws::{AwsClients, KmsKeys},
    ports::Keys,
};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use crate::{
    aws,
    servers::aws::{StandIn, settings},
    suites,
    support::{Embedded, Subject},
};

#[tokio::test]
async fn keys_and_secrets_are_sealed_as_promised_on_ministack() {
    keys_and_secrets_are_sealed_as_promised(StandIn::MiniStack).await;
}

#[tokio::test]
async fn keys_and_secrets_are_sealed_as_promised_on_moto() {
    keys_and_secrets_are_sealed_as_promised(StandIn::Moto).await;
}

async fn keys_and_secrets_are_sealed_as_promised(stand_in: StandIn) {
    let Some(aws) = aws(stand_in).await else { return };
    aws.make_key().await;
    let embedded = Embedded::new();
    let mut ports = embedded.stores.ports();
    ports.keys = Arc::new(KmsKeys::new(&aws.clients, &aws.settings));
    suites::keys::keeps_all(&Subject::new(ports)).await;
}

#[tokio::test]
async fn a_key_that_is_damaged_is_told_from_one_that_may_not_be_used() {
    for (status, code, kind) in [
        (400, "InvalidCiphertextException", ErrorKind::Corrupt),
        (400, "AccessDeniedException", ErrorKind::Invalid),
        (400, "DisabledException", ErrorKind::Invalid),
        (400, "KMSInvalidStateException", ErrorKind::Invalid),
        (400, "ThrottlingException", ErrorKind::Retry),
        (500, "KMSInternalException", ErrorKind::Retry),
    ] {
        let kms = MockServer::start().await;
        let on = |operation: &str| {
            Mock::given(matchers::header("x-amz-target", format!("TrentService.{operation}").as_str()))
        };
        let (blob, plain) = ("AAEC", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let made = ResponseTemplate::new(200).set_body_json(json!({ "CiphertextBlob": blob, "Plaintext": plain }));
        on("GenerateDataKey").respond_with(made).mount(&kms).await;
        let refusal = ResponseTemplate::new(status).set_body_json(json!({ "__type": code, "message": "as told" }));
        on("Decrypt").respond_with(refusal).mount(&kms).await;
        let settings = settings(kms.uri());
        let keys = KmsKeys::new(&AwsClients::new(&settings).await, &settings);
        let mut wrapped = keys.generate("account=a").await.unwrap().wrapped;
        let error = keys.unwrap("account=a", &wrapped).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        *wrapped.last_mut().unwrap() ^= 1;
        assert_eq!(keys.unwrap("account=a", &wrapped).await.unwrap_err().kind(), ErrorKind::Corrupt);
        let asked: Value = kms.received_requests().await.unwrap()[0].body_json().unwrap();
        assert_eq!(
            (&asked["KeyId"], &asked["EncryptionContext"]),
            (&json!("alias/listbackup-test"), &json!({ "account": "a" }))
        );
    }
}
