//! Connecting a product in the browser.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use futures::future::join_all;
use reqwest::{StatusCode, Url};
use std::collections::BTreeMap;

use crate::{
    kit::{OTHER_URL, PUBLIC_URL, Site},
    servers::oidc_provider::{Browser, CLIENTS},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_connected_in_the_browser_and_backed_up() {
    let Some((site, source)) = Site::start().await else { return };
    site.waits_for_sign_in(&source).await;
    let authorize = site.begin(&source).await;
    let asked: BTreeMap<String, String> = Url::parse(&authorize).unwrap().query_pairs().into_owned().collect();
    assert_eq!(asked["code_challenge_method"], "S256");
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(&asked["code_challenge"]).unwrap().len(), 32);
    assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(&asked["state"]).unwrap().len(), 32);
    assert_eq!(asked["scope"], "offline_access crm.read", "what the manifest asks for and no more");
    assert_eq!(asked["redirect_uri"], format!("{PUBLIC_URL}/integrations/oauth/callback"));
    assert!(!authorize.contains(CLIENTS[0].1), "the client's secret is not for the browser");

    let callback = site.approve(&authorize, "ada").await;
    assert_eq!(site.nobody().get(&callback).await.expect(200)["source_id"], source.id.as_str());
    let shown = site.shown(&source).await;
    assert_eq!(shown["state"], "active");
    let requests = site.provider.token_requests().await;
    assert_eq!(requests.len(), 1);
    assert_eq!((requests[0].grant_type.as_deref(), requests[0].has_verifier), (Some("authorization_code"), true));

    let run = site.run(&source).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    site.assert_holds(&run).await;
    let granted = requests[0].access_token.as_deref().unwrap();
    for request in site.provider.product_requests().await {
        assert_eq!((request.access_token.as_deref(), request.status), (Some(granted), 200));
    }
    let activity = site.owner().get("/activity").await;
    let secrets = [granted, requests[0].new_refresh_token.as_deref().unwrap(), CLIENTS[0].1];
    for told in [shown.to_string(), run.to_string(), activity.text] {
        assert!(secrets.iter().all(|secret| !told.contains(secret)), "a secret is told: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_that_asks_for_pkce_gives_nothing_without_it() {
    let Some((site, source)) = Site::start().await else { return };
    let mut url = Url::parse(&site.begin(&source).await).unwrap();
    let without = url.query_pairs().into_owned().filter(|(name, _)| !name.starts_with("code_challenge"));
    let without: Vec<_> = without.collect();
    url.query_pairs_mut().clear().extend_pairs(without);
    let callback = site.approve(url.as_str(), "ada").await;
    assert!(!callback.contains("code="), "{callback}");
    assert_eq!(site.nobody().get(&callback).await.expect(400)["code"], "sign_in_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_that_comes_back_eight_times_at_once_is_finished_once() {
    let Some((site, source)) = Site::start().await else { return };
    let callback = site.approve(&site.begin(&source).await, "ada").await;
    let nobody = site.nobody();
    let answers = join_all((0..8).map(|_| nobody.get(&callback))).await;
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400, 400, 400, 400, 400, 400, 400]);
    assert_eq!(site.provider.token_requests().await.len(), 1, "the code is sent once");
    assert_eq!(nobody.get(&callback).await.expect(400)["code"], "sign_in_lost");
    // A code that is used twice ends what came of it: this one was not.
    let run = site.run(&source).await;
    assert_eq!(run["status"], "succeeded", "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_does_not_allow_it_is_told_and_may_try_again() {
    let Some((site, source)) = Site::start().await else { return };
    let callback = site.approve(&site.begin(&source).await, "nobody").await;
    let told = site.nobody().get(&callback).await;
    assert_eq!(told.expect(400)["code"], "sign_in_refused");
    assert!(told.text.contains("access_denied"), "{}", told.text);
    site.waits_for_sign_in(&source).await;
    assert!(site.provider.token_requests().await.is_empty());
    site.sign_in(&source).await.expect(200);
    assert_eq!(site.run(&source).await["status"], "succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_goes_to_the_address_that_it_began_at_and_to_no_other() {
    let Some((mut site, source)) = Site::start().await else { return };
    let begun_here = site.approve(&site.begin(&source).await, "ada").await;
    site.kill();
    site.up_at(OTHER_URL);
    // Begun at one address, come back at another one.
    assert_eq!(site.nobody().get(&begun_here).await.expect(400)["code"], "sign_in_lost");
    // The product sends nobody where it was not told to.
    let elsewhere = site.begin(&source).await;
    let ended = site.provider.browse(&elsewhere, "ada").await;
    assert!(matches!(ended, Browser::Stayed(StatusCode::BAD_REQUEST)), "{ended:?}");
    assert!(site.provider.token_requests().await.is_empty());
    site.waits_for_sign_in(&source).await;
}
