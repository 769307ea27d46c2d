//! A grant that has ended is told, once; everything else stays, and signing in again goes on.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    kit::{Connected, Site, assert_one_chain, refreshes},
    servers::oidc_provider::CLIENTS,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_somebody_else_spent_ends_the_grant_with_one_request() {
    let Some((site, source, _)) = Site::backed_up().await else { return };
    let stolen = site.provider.token_requests().await[0].new_refresh_token.clone().unwrap();
    assert_eq!(site.provider.use_refresh_token(&stolen).await, StatusCode::OK);
    site.provider.end_access_tokens().await;
    let requests = site.provider.token_requests().await.len();
    ends_with_sign_in_again(&site, &source).await;
    let asked = site.provider.token_requests().await.split_off(requests);
    assert_eq!(asked.len(), 1, "the spent token is tried once: {asked:?}");
    assert_eq!((asked[0].refresh_token.as_ref(), asked[0].status), (Some(&stolen), 400));

    site.sign_in(&source).await.expect(200);
    let run = site.run(&source).await;
    assert_eq!(run["status"], "succeeded", "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_keeps_everything_and_signing_in_again_goes_on_from_the_old_state() {
    let Some((site, source, first)) = Site::backed_up().await else { return };
    let jobs = site.owner().get(&format!("/jobs?source_id={}", source.id)).await;
    let job = jobs.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    let schedule = json!({ "schedule": { "kind": "cron", "expression": "30 2 * * *", "time_zone": "Europe/Berlin" } });
    site.owner().patch(&format!("/jobs/{job}"), &schedule).await.expect(200);
    let before = Kept::of(&site, &source, &job, &first).await;

    site.provider.revoke("ada").await;
    let requests = site.provider.token_requests().await.len();
    ends_with_sign_in_again(&site, &source).await;
    assert_eq!(site.provider.token_requests().await.len(), requests + 1, "one request, refused");
    assert_eq!(Kept::of(&site, &source, &job, &first).await, before);
    let lost = site.owner().get("/activity?kind=source").await;
    assert!(
        lost.expect(200)["items"].as_array().unwrap().iter().any(|event| event["kind"] == "source.authorisation_lost")
    );

    site.provider.change("ada", "contacts", 2, "Renamed meanwhile").await;
    let requests = site.provider.product_requests().await.len();
    site.sign_in(&source).await.expect(200);
    let run = site.run(&source).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    site.assert_holds(&run).await;
    let contacts = &run["progress"]["streams"]["contacts"];
    assert_eq!((&contacts["added"], &contacts["changed"], &contacts["removed"]), (&json!(0), &json!(1), &json!(0)));
    for asked in site.provider.product_requests().await.split_off(requests) {
        let since = asked.since.expect("only changes are asked for");
        assert!(
            since.as_str() > "2026",
            "{:?} is read from where the last backup ended, not from {since}",
            asked.stream
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_that_a_person_enters_takes_the_place_of_a_grant_that_ended() {
    let Some((site, source, _)) = Site::backed_up().await else { return };
    site.provider.revoke("ada").await;
    ends_with_sign_in_again(&site, &source).await;
    let path = format!("/sources/{}", source.id);
    let mut settings = site.shown(&source).await["settings"].clone();
    // Nothing new: still to be signed in.
    site.owner().patch(&path, &json!({ "settings": settings })).await.expect(200);
    site.waits_for_sign_in(&source).await;

    let own = site.provider.refresh_token("ada", CLIENTS[0].0).await;
    settings["credentials"] = json!({ "refresh_token": own });
    let requests = site.provider.token_requests().await.len();
    for backup in 0..2 {
        site.owner().patch(&path, &json!({ "settings": settings })).await.expect(200);
        let run = site.run(&source).await;
        assert_eq!(run["status"], "succeeded", "backup {backup}: {run}");
        site.provider.end_access_tokens().await;
    }
    // Entered twice, it is the same grant: its successor is used.
    assert_one_chain(&own, &site.provider.token_requests().await.split_off(requests));
}

/// A backup ends with the words that a person must sign in again, and the source waits for that.
async fn ends_with_sign_in_again(site: &Site, source: &Connected) {
    let run = site.run(source).await;
    assert_eq!((&run["status"], &run["error"]["code"]), (&json!("failed"), &json!("reauthorise")), "{run}");
    assert!(run["error"]["message"].as_str().unwrap().contains("sign in again"), "{run}");
    let asked = site.provider.log().await.len();
    site.waits_for_sign_in(source).await;
    let tested = site.owner().post(&format!("/sources/{}/resume", source.id), &json!({})).await;
    tested.expect(409);
    assert_eq!(site.provider.log().await.len(), asked, "nothing more is asked of the product");
}

/// What the end of a grant must not touch.
#[derive(Debug, PartialEq)]
struct Kept {
    settings: Value,
    head: Value,
    job: Value,
    snapshots: Value,
    contacts: Vec<Value>,
}

impl Kept {
    async fn of(site: &Site, source: &Connected, job: &str, run: &Value) -> Self {
        let shown = site.shown(source).await;
        let job = site.owner().get(&format!("/jobs/{job}")).await.expect(200).clone();
        let snapshots = site.owner().get("/data/snapshots").await.expect(200).clone();
        let contacts = site.records(run["snapshot_id"].as_str().unwrap(), "contacts").await;
        assert_eq!(contacts.len(), 3);
        Self { settings: shown["settings"].clone(), head: shown["head"].clone(), job, snapshots, contacts }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_a_source_whose_grant_was_revoked_says_to_sign_in_again() {
    let Some((site, source, _)) = Site::backed_up().await else { return };
    let path = format!("/sources/{}/test", source.id);
    assert_eq!(site.owner().post(&path, &json!({})).await.expect(200)["ok"], true);
    site.provider.revoke("ada").await;
    let tested = site.owner().post(&path, &json!({})).await;
    assert_eq!((&tested.expect(200)["ok"], &tested.body["code"]), (&json!(false), &json!("reauthorise")));
    assert_eq!(refreshes(site.provider.token_requests().await).len(), 1);
}
