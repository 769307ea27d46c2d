//! Access tokens end, and refresh tokens work once: backups go on without a person.

use crate::kit::{Site, assert_one_chain, refreshes};

/// Less than a backup takes to begin: a token of which this is told is renewed before it is used.
const NO_TIME_SECONDS: f64 = 0.001;

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_renew_a_token_ahead_of_its_end_by_one_request() {
    let Some((site, source)) = Site::start().await else { return };
    site.provider.say_tokens_last(Some(NO_TIME_SECONDS)).await;
    site.sign_in(&source).await.expect(200);
    site.provider.say_tokens_last(None).await;
    let run = site.run(&source).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    site.assert_holds(&run).await;
    let requests = site.provider.token_requests().await;
    let refreshes = refreshes(requests.clone());
    assert_eq!(refreshes.len(), 1, "{refreshes:?}");
    assert_one_chain(requests[0].new_refresh_token.as_deref().unwrap(), &refreshes);
    // The old token still works at the product. Nobody waited for it to be refused.
    let product = site.provider.product_requests().await;
    assert_eq!(product.len(), 8, "a request for each stream: {product:?}");
    assert!(product.iter().all(|asked| asked.status == 200 && asked.access_token == refreshes[0].access_token));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_within_a_minute_is_not_begun_with() {
    let Some((site, source)) = Site::start().await else { return };
    site.provider.say_tokens_last(Some(45.0)).await;
    site.sign_in(&source).await.expect(200);
    site.provider.say_tokens_last(None).await;
    assert_eq!(site.run(&source).await["status"], "succeeded");
    let refreshes = refreshes(site.provider.token_requests().await);
    assert_eq!(refreshes.len(), 1, "{refreshes:?}");
    let product = site.provider.product_requests().await;
    assert!(product.iter().all(|asked| asked.access_token == refreshes[0].access_token), "{product:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_product_ends_early_is_renewed_once_for_all_streams() {
    let Some((site, source, _)) = Site::backed_up().await else { return };
    site.provider.end_access_tokens().await;
    let run = site.run(&source).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    site.assert_holds(&run).await;
    let requests = site.provider.token_requests().await;
    let refreshes = refreshes(requests.clone());
    assert_eq!(refreshes.len(), 1, "{refreshes:?}");
    assert_one_chain(requests[0].new_refresh_token.as_deref().unwrap(), &refreshes);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_refresh_token_is_used_once_however_often_tokens_are_renewed() {
    let Some((mut site, source)) = Site::start().await else { return };
    site.provider.say_tokens_last(Some(NO_TIME_SECONDS)).await;
    site.sign_in(&source).await.expect(200);
    for backup in 0..3 {
        let run = site.run(&source).await;
        assert_eq!(run["status"], "succeeded", "backup {backup}: {run}");
        site.kill();
        site.up_at(crate::kit::PUBLIC_URL);
    }
    let requests = site.provider.token_requests().await;
    let refreshes = refreshes(requests.clone());
    // Streams that ask in the same instant share one.
    assert!(refreshes.len() > 3, "a backup needs more than one new token: {}", refreshes.len());
    assert_one_chain(requests[0].new_refresh_token.as_deref().unwrap(), &refreshes);
}
