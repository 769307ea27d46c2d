//! Data keys in KMS.

use std::sync::Arc;

use listbackup_engine::{
    ErrorKind,
    adapters::aws::{AwsClients, KmsKeys},
    ports::Keys,
};
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers};

use crate::{
    aws,
    servers::aws::{StandIn, settings},
    suites,
    support::{Embedded, Subject},
};

#[tokio::test]
async fn keys_and_secrets_are_sealed_as_promised_on_ministack() {
    // It encrypts without a check of the bytes: one that was altered opens as another key.
    keep_their_promises(StandIn::MiniStack, |subject| Box::pin(suites::keys::open_in_their_context_only(subject)))
        .await;
}

#[tokio::test]
async fn keys_and_secrets_are_sealed_as_promised_on_moto() {
    keep_their_promises(StandIn::Moto, |subject| Box::pin(suites::keys::keeps_all(subject))).await;
}

async fn keep_their_promises(
    stand_in: StandIn,
    promises: impl for<'a> FnOnce(&'a Subject) -> std::pin::Pin<Box<dyn Future<Output = ()> + 'a>>,
) {
    let Some(aws) = aws(stand_in).await else { return };
    aws.make_key().await;
    let embedded = Embedded::new();
    let mut ports = embedded.stores.ports();
    ports.keys = Arc::new(KmsKeys::new(&aws.clients, &aws.settings));
    promises(&Subject::new(ports)).await;
}

#[tokio::test]
async fn a_key_that_kms_does_not_open_is_told_from_one_that_may_not_be_used() {
    for (status, code, kind) in [
        (400, "InvalidCiphertextException", ErrorKind::Corrupt),
        (400, "NotFoundException", ErrorKind::Corrupt),
        (400, "AccessDeniedException", ErrorKind::Invalid),
        (400, "DisabledException", ErrorKind::Invalid),
        (400, "ThrottlingException", ErrorKind::Retry),
        (500, "KMSInternalException", ErrorKind::Retry),
    ] {
        let kms = MockServer::start().await;
        let refusal = ResponseTemplate::new(status).set_body_json(json!({ "__type": code, "message": "as told" }));
        Mock::given(matchers::any()).respond_with(refusal).mount(&kms).await;
        let settings = settings(kms.uri());
        let keys = KmsKeys::new(&AwsClients::new(&settings).await, &settings);
        let error = keys.unwrap("account=a", &[1, 2, 3]).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
}
