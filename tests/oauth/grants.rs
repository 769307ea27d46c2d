//! Grants that the settings of a manifest bring: a client by itself, and refresh tokens of several people side by side.

use std::{collections::BTreeSet, path::Path};

use listbackup::local;
use listbackup_engine::{
    adapters::embedded::{EmbeddedStores, OpenMode},
    model::{Credential, scope::SystemScope},
    ports::Condition,
    run::sources,
    secret,
    store::{Store, key1, put},
};
use serde_json::Value;

use crate::{
    backup::Report,
    kit::{Site, assert_one_chain, refreshes},
    program::Program,
    servers::oidc_provider::{Asked, CLIENTS, OidcProvider, installed},
};

const MANIFEST: &str = "tests/fixtures/oidc_grants.yaml";

/// The product, the program, and what people enter.
struct Shop {
    provider: OidcProvider,
    program: Program,
    settings: Vec<String>,
}

impl Shop {
    /// The seller's and the buyer's refresh tokens, for clients by their place in [`CLIENTS`].
    async fn start(buyers_client: usize) -> Option<(Self, String, String)> {
        if let Err(reason) = installed() {
            println!("skipped: {reason}");
            return None;
        }
        let (provider, (id, secret), buyers) =
            (OidcProvider::start(&["https://backup.example"]), CLIENTS[0], CLIENTS[buyers_client]);
        let seller = provider.refresh_token("ada", id).await;
        let buyer = provider.refresh_token("ben", buyers.0).await;
        let settings = vec![
            format!("base_url={}", provider.url()),
            format!("client_id={id}"),
            format!("client_secret={secret}"),
            format!("seller.refresh_token={seller}"),
            format!("buyer.client_id={}", buyers.0),
            format!("buyer.client_secret={}", buyers.1),
            format!("buyer.refresh_token={buyer}"),
        ];
        Some((Self { provider, program: Program::new(), settings }, seller, buyer))
    }

    async fn back_up(&self, streams: &[&str]) -> Report {
        let report = self.program.backup_of(Path::new(MANIFEST), &self.settings, streams).await;
        assert_eq!(report.status, "succeeded", "{report:?}");
        report
    }

    /// Whose records a snapshot has in a stream.
    async fn owners(&self, report: &Report, stream: &str) -> BTreeSet<String> {
        let records = self.program.export(report.snapshot_id.as_deref().unwrap(), stream, "id").await;
        records.values().map(|record: &Value| record["owner"].as_str().unwrap().to_owned()).collect()
    }

    async fn assert_owners(&self, report: &Report, expected: &[(&str, &str)]) {
        for (stream, owner) in expected {
            assert_eq!(self.owners(report, stream).await, BTreeSet::from([(*owner).to_owned()]), "{stream}");
        }
    }

    /// The refreshes that began with a refresh token.
    async fn chain(&self, first: &str) -> Vec<Asked> {
        let (mut next, mut chain) = (first.to_owned(), Vec::new());
        for asked in refreshes(self.provider.token_requests().await) {
            if asked.refresh_token.as_ref() == Some(&next) {
                next = asked.new_refresh_token.clone().unwrap_or_default();
                chain.push(asked);
            }
        }
        chain
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_signs_in_for_itself_backs_up_and_keeps_nothing() {
    let Some((shop, _, _)) = Shop::start(0).await else { return };
    for backup in 1..=2 {
        let report = shop.back_up(&["companies"]).await;
        shop.assert_owners(&report, &[("companies", CLIENTS[0].0)]).await;
        let requests = shop.provider.token_requests().await;
        assert_eq!(requests.len(), backup, "one token a backup: {requests:?}");
        assert!(requests.iter().all(|asked| asked.grant_type.as_deref() == Some("client_credentials")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_token_from_the_settings_is_used_once_and_its_successors_after_it() {
    let Some((shop, seller, _)) = Shop::start(0).await else { return };
    for _ in 0..3 {
        let report = shop.back_up(&["deals", "invoices"]).await;
        shop.assert_owners(&report, &[("deals", "ada"), ("invoices", "ada")]).await;
        shop.provider.end_access_tokens().await;
    }
    let refreshes = refreshes(shop.provider.token_requests().await);
    assert_eq!(refreshes.len(), 3, "one a backup, for both streams: {refreshes:?}");
    assert_one_chain(&seller, &refreshes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_refresh_token_in_the_settings_takes_the_place_of_one_that_ended() {
    let Some((mut shop, _, _)) = Shop::start(0).await else { return };
    shop.back_up(&["deals"]).await;
    shop.provider.revoke("ada").await;
    let anew = shop.provider.refresh_token("eva", CLIENTS[0].0).await;
    shop.settings.push(format!("seller.refresh_token={anew}"));
    let report = shop.back_up(&["deals"]).await;
    shop.assert_owners(&report, &[("deals", "eva")]).await;
    assert_one_chain(&anew, &shop.chain(&anew).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_of_one_client_in_one_manifest_keep_their_tokens_apart() {
    two_people_keep_their_tokens_apart(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_clients_in_one_manifest_keep_their_tokens_apart() {
    two_people_keep_their_tokens_apart(1).await;
}

async fn two_people_keep_their_tokens_apart(buyers_client: usize) {
    let Some((shop, seller, buyer)) = Shop::start(buyers_client).await else { return };
    for _ in 0..3 {
        let report = shop.back_up(&[]).await;
        let owners = [("companies", CLIENTS[0].0), ("deals", "ada"), ("invoices", "ada"), ("orders", "ben")];
        shop.assert_owners(&report, &owners).await;
        shop.provider.end_access_tokens().await;
    }
    for first in [seller, buyer] {
        let chain = shop.chain(&first).await;
        assert_eq!(chain.len(), 3, "{chain:?}");
        assert_one_chain(&first, &chain);
    }
    assert_eq!(refreshes(shop.provider.token_requests().await).len(), 6, "no token is used twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_were_kept_before_each_grant_had_its_place_go_on() {
    let Some((shop, seller, buyer)) = Shop::start(0).await else { return };
    let streams = ["deals", "orders"];
    shop.back_up(&["deals"]).await;
    as_they_were_kept(&shop.program).await;
    for _ in 0..2 {
        shop.provider.end_access_tokens().await;
        let report = shop.back_up(&streams).await;
        shop.assert_owners(&report, &[("deals", "ada"), ("orders", "ben")]).await;
    }
    for (first, times) in [(seller, 3), (buyer, 2)] {
        let chain = shop.chain(&first).await;
        assert_eq!(chain.len(), times, "{chain:?}");
        assert_one_chain(&first, &chain);
    }
    assert_eq!(refreshes(shop.provider.token_requests().await).len(), 5, "no token is used twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_the_settings_leaves_the_sign_in_of_the_browser_alone() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("both.yaml");
    let text = std::fs::read_to_string("tests/fixtures/oidc.yaml").unwrap();
    // The first stream of all has a grant of its own.
    let text = text.replacen("streams:\n", BUYERS_STREAM, 1).replace(OWN_STREAM, "");
    std::fs::write(&manifest, text).unwrap();
    let started = Site::start_with(async |provider| {
        let buyer = provider.refresh_token("ben", CLIENTS[0].0).await;
        (manifest.clone(), vec![format!("buyer.refresh_token={buyer}")])
    });
    let Some((site, source)) = started.await else { return };
    site.sign_in(&source).await.expect(200);
    for backup in 0..3 {
        let run = site.run(&source).await;
        assert_eq!(run["status"], "succeeded", "backup {backup}: {run}");
        for (stream, owner) in [("orders", "ben"), ("contacts", "ada"), ("tasks", "ada")] {
            for record in site.records(run["snapshot_id"].as_str().unwrap(), stream).await {
                assert_eq!(record["owner"], owner, "{stream}");
            }
        }
        site.provider.end_access_tokens().await;
    }
    let requests = site.provider.token_requests().await;
    assert!(requests.iter().all(|asked| asked.status == 200), "{requests:?}");
    // Three of the buyer's, and two of hers whose first token came with the sign-in.
    assert_eq!(refreshes(requests).len(), 5);
}

/// `streams` with another person's orders before all others.
const BUYERS_STREAM: &str = r##"streams:
  - $ref: "#/definitions/orders"
    name: orders
    retriever:
      $ref: "#/definitions/stream/retriever"
      requester:
        $ref: "#/definitions/stream/retriever/requester"
        path: /api/orders
        authenticator:
          $ref: "#/definitions/stream/retriever/requester/authenticator"
          refresh_token: "{{ config['buyer']['refresh_token'] }}"
"##;
const OWN_STREAM: &str = "  - { $ref: \"#/definitions/orders\", name: orders }\n";

/// Seals the tokens of the one grant that was used as the first version did: beside the settings, with the row's version.
async fn as_they_were_kept(program: &Program) {
    let stores = EmbeddedStores::open(program.data_dir(), OpenMode::Write).unwrap();
    let (ports, system) = (stores.ports(), SystemScope::of_this_process());
    let (store, scope) = (Store::new(ports.tables.clone()), local::ensure(&ports, &system).await.unwrap().scope);
    let source = sources::named(&store, &scope, "oidc_grants").await.unwrap().unwrap().row;
    let mut row = store.get::<Credential>(&scope, key1(source.credential_id.unwrap())).await.unwrap().row;
    let context = format!("account={};credential={}", row.account_id, row.key_id);
    let plain = secret::open(&*ports.keys, &context, &row.sealed).await.unwrap();
    let mut secrets: Value = serde_json::from_slice(&plain).unwrap();
    let places = secrets.as_object_mut().unwrap().remove("places").unwrap();
    let mut tokens = places.as_object().unwrap().values().next().unwrap().clone();
    row.token_version = tokens.as_object_mut().unwrap().remove("version").unwrap().as_u64().unwrap();
    secrets["tokens"] = tokens;
    row.sealed = secret::seal(&*ports.keys, &context, secrets.to_string().as_bytes()).await.unwrap();
    store.transact(&scope, vec![put(&row, Condition::Any).unwrap()]).await.unwrap();
}
