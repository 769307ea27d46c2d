//! The program as a server, and a product whose people sign in at oidc-provider.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{
    client::{Answer, Caller},
    program::Program,
    running::{Api, Running},
    servers::oidc_provider::{Asked, Browser, CLIENTS, OidcProvider, installed},
};

/// Where people reach the program. Nothing listens there: the test is their browser.
pub const PUBLIC_URL: &str = "https://backup.example";
/// Another address, which the product does not know.
pub const OTHER_URL: &str = "https://elsewhere.example";

/// A product and the program over a data directory of its own.
pub struct Site {
    pub provider: OidcProvider,
    pub program: Program,
    up: Option<Running>,
}

/// A source of the program.
pub struct Connected {
    pub id: String,
}

impl Site {
    /// With a source that nobody has signed in, or `None`, told as skipped, where the provider cannot be had.
    pub async fn start() -> Option<(Self, Connected)> {
        Self::start_with(async |_| ("tests/fixtures/oidc.yaml".into(), Vec::new())).await
    }

    /// The same with another manifest and further settings, made when the provider is there.
    pub async fn start_with(
        prepare: impl AsyncFnOnce(&OidcProvider) -> (PathBuf, Vec<String>),
    ) -> Option<(Self, Connected)> {
        if let Err(reason) = installed() {
            println!("skipped: {reason}");
            return None;
        }
        let callback = format!("{PUBLIC_URL}/integrations/oauth/callback");
        let mut site = Self { provider: OidcProvider::start(&[&callback]), program: Program::new(), up: None };
        let (manifest, settings) = prepare(&site.provider).await;
        site.make_source(&manifest, settings).await;
        site.up_at(PUBLIC_URL);
        let sources = site.owner().get("/sources").await;
        let id = sources.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
        Some((site, Connected { id }))
    }

    /// The same, signed in and backed up once. Returns the run too.
    pub async fn backed_up() -> Option<(Self, Connected, Value)> {
        let (site, source) = Self::start().await?;
        site.sign_in(&source).await.expect(200);
        let run = site.run(&source).await;
        assert_eq!(run["status"], "succeeded", "{run}");
        Some((site, source, run))
    }

    /// As a person does who has a manifest: the first backup tells them to sign in.
    async fn make_source(&self, manifest: &Path, settings: Vec<String>) {
        let (id, secret) = CLIENTS[0];
        let mut command = self.program.command("backup");
        command.args(["--json", "--manifest"]).arg(manifest);
        let always =
            [format!("base_url={}", self.provider.url()), format!("client_id={id}"), format!("client_secret={secret}")];
        for setting in always.into_iter().chain(settings) {
            command.args(["--set", &setting]);
        }
        let output = command.output().await.expect("the program can be started");
        let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert_eq!(output.status.code(), Some(6), "{report}");
        assert_eq!(report["error"]["code"], "reauthorise", "{report}");
        assert_eq!(self.provider.log().await.len(), 0, "nobody is asked before there is a sign-in");
    }

    /// Starts the program, reached by people at `public_url`.
    pub fn up_at(&mut self, public_url: &str) {
        self.up = Some(Running::up_with(&self.program, &["--public-url", public_url]));
    }

    /// Ends the program by SIGKILL.
    pub fn kill(&mut self) {
        self.up.take().expect("the program runs").kill();
    }

    /// Calls the program's API as its owner.
    pub fn owner(&self) -> Caller {
        self.nobody().with_token(self.running().key())
    }

    /// Calls the program's API without credentials, as a browser that comes back does.
    pub fn nobody(&self) -> Caller {
        Caller::new(self.running().url())
    }

    /// Its API for runs.
    pub fn api(&self) -> Api {
        self.running().api()
    }

    fn running(&self) -> &Running {
        self.up.as_ref().expect("the program runs")
    }

    /// Begins a sign-in: where the program sends the browser.
    pub async fn begin(&self, source: &Connected) -> String {
        let begun = self.owner().post(&format!("/sources/{}/reconnect", source.id), &json!({})).await;
        begun.expect(200)["authorize_url"].as_str().unwrap().to_owned()
    }

    /// A person signs in at the product: path and query with which the browser comes back.
    pub async fn approve(&self, authorize_url: &str, person: &str) -> String {
        match self.provider.browse(authorize_url, person).await {
            Browser::SentBack(address) => {
                address.strip_prefix(PUBLIC_URL).expect("sent back to the program").to_owned()
            }
            Browser::Stayed(status) => panic!("the provider does not send the browser back: {status}"),
        }
    }

    /// A whole sign-in.
    pub async fn sign_in(&self, source: &Connected) -> Answer {
        let callback = self.approve(&self.begin(source).await, "ada").await;
        self.nobody().get(&callback).await
    }

    /// Orders a backup and waits for its end.
    pub async fn run(&self, source: &Connected) -> Value {
        let api = self.api();
        api.ended(&api.sync(&source.id).await).await
    }

    /// The source as the API shows it.
    pub async fn shown(&self, source: &Connected) -> Value {
        self.owner().get(&format!("/sources/{}", source.id)).await.expect(200).clone()
    }

    /// The source waits for a sign-in: no backup can be ordered.
    pub async fn waits_for_sign_in(&self, source: &Connected) {
        assert_eq!(self.shown(source).await["state"], "needs_authorisation");
        self.owner().post(&format!("/sources/{}/sync", source.id), &json!({})).await.expect(409);
    }

    /// The snapshot of a run holds what `ada` has at the product in every stream now.
    pub async fn assert_holds(&self, run: &Value) {
        let snapshot = run["snapshot_id"].as_str().expect("a run that succeeded names its snapshot");
        for stream in run["progress"]["streams"].as_object().expect("streams").keys() {
            let stored = self.records(snapshot, stream).await;
            assert_eq!(
                stored,
                self.provider.records("ada", stream).await.into_values().collect::<Vec<_>>(),
                "{stream}"
            );
        }
    }

    /// The records of a snapshot's stream as the API gives them, in the order of their keys.
    pub async fn records(&self, snapshot: &str, stream: &str) -> Vec<Value> {
        let page = self.owner().get(&format!("/data/snapshots/{snapshot}/streams/{stream}/records?limit=100")).await;
        let items = page.expect(200)["items"].as_array().expect("a list");
        items.iter().map(|item| item["record"].clone()).collect()
    }
}

/// Refreshes among token requests.
pub fn refreshes(requests: Vec<Asked>) -> Vec<Asked> {
    requests.into_iter().filter(|asked| asked.grant_type.as_deref() == Some("refresh_token")).collect()
}

/// Every refresh used the token that the one before it brought, and was granted; `first` is what the sign-in brought.
pub fn assert_one_chain(first: &str, refreshes: &[Asked]) {
    let mut next = first;
    for refresh in refreshes {
        assert_eq!((refresh.refresh_token.as_deref(), refresh.status), (Some(next), 200), "{refreshes:?}");
        next = refresh.new_refresh_token.as_deref().expect("refresh tokens rotate");
    }
}
