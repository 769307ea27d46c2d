//! A secret that may go to some hosts only.

use listbackup_connectors::{
    ErrorKind,
    http::{GuardedSecret, Hosts, Limits, Request},
};
use reqwest::header::AUTHORIZATION;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::{local_client, url};

#[tokio::test]
async fn a_secret_that_names_its_hosts_goes_to_no_other_not_even_by_a_redirect() {
    let (ours, theirs) = (MockServer::start().await, MockServer::start().await);
    let onward = format!("{}/?s=canary%2dcanary", theirs.uri());
    Mock::given(any()).respond_with(ResponseTemplate::new(303).insert_header("location", onward)).mount(&ours).await;
    Mock::given(any()).respond_with(ResponseTemplate::new(200)).mount(&theirs).await;
    let hosts = Hosts::read(&[ours.address().to_string()]).unwrap();
    let client = local_client(Limits::default()).guarding(GuardedSecret::new("canary-canary".into(), hosts));
    let basic = "Basic aWQ6Y2FuYXJ5LWNhbmFyeQ==";
    let with_header = |url: &str| Request::get(url.parse().unwrap()).with_secret(AUTHORIZATION, basic).unwrap();
    for request in [with_header(&theirs.uri()), with_header(&ours.uri())] {
        for outcome in [client.send_once(request.clone()).await.map(drop), client.open_once(request).await.map(drop)] {
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied);
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
    assert_eq!(ours.received_requests().await.unwrap().len(), 2, "its own host gets it");
    assert!(theirs.received_requests().await.unwrap().is_empty(), "the other one gets no request");
    // What does not carry it goes where it wants.
    client.send_once(Request::get(url(&theirs.uri()))).await.unwrap();
}
