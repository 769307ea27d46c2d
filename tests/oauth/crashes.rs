//! The program dies at the two moments that matter for a refresh token that works once.

use serde_json::json;

use crate::kit::{PUBLIC_URL, Site, assert_one_chain, refreshes};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_is_stored_before_the_product_sees_it() {
    let Some((mut site, source, _)) = Site::backed_up().await else { return };
    site.provider.end_access_tokens().await;
    site.provider.hold("product").await;
    let run = site.api().sync(&source.id).await;
    // The product has a request with the new token in hand: from now on the old one is worth nothing.
    site.provider.held().await;
    site.kill();
    site.provider.release().await;
    site.up_at(PUBLIC_URL);
    let run = site.api().ended(&run).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    site.assert_holds(&run).await;
    let requests = site.provider.token_requests().await;
    let refreshes = refreshes(requests.clone());
    assert_eq!(refreshes.len(), 1, "the token from before the crash is used: {refreshes:?}");
    assert_one_chain(requests[0].new_refresh_token.as_deref().unwrap(), &refreshes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_before_the_new_token_is_stored_costs_a_sign_in_and_nothing_else() {
    let Some((mut site, source, first)) = Site::backed_up().await else { return };
    site.provider.end_access_tokens().await;
    site.provider.hold("token").await;
    let run = site.api().sync(&source.id).await;
    // The provider has spent the old token; the new ones are in an answer that nobody gets.
    site.provider.held().await;
    site.kill();
    site.provider.release().await;
    let before = site.provider.token_requests().await.len();

    site.up_at(PUBLIC_URL);
    let run = site.api().ended(&run).await;
    assert_eq!((&run["status"], &run["error"]["code"]), (&json!("failed"), &json!("reauthorise")), "{run}");
    site.waits_for_sign_in(&source).await;
    let asked = site.provider.token_requests().await.split_off(before);
    assert_eq!(asked.len(), 1, "the spent token is tried once: {asked:?}");
    assert_eq!(site.records(first["snapshot_id"].as_str().unwrap(), "contacts").await.len(), 3);

    site.kill();
    let verified = site.program.json("verify", &["--data"]).await;
    assert_eq!(verified["clean"], true, "{verified}");
    site.up_at(PUBLIC_URL);
    site.waits_for_sign_in(&source).await;
    assert_eq!(site.provider.token_requests().await.len(), before + 1, "a start asks nobody");

    site.provider.change("ada", "deals", 9, "Made meanwhile").await;
    site.sign_in(&source).await.expect(200);
    let run = site.run(&source).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    site.assert_holds(&run).await;
    assert_eq!(run["progress"]["streams"]["deals"]["added"], 1);
    assert_eq!(run["progress"]["streams"]["contacts"]["unchanged"], 3);
}
