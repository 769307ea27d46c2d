//! oidc-provider, a certified OAuth 2 server, with a small product beside it that takes its tokens.

use std::{collections::BTreeMap, time::Duration};

use reqwest::{
    StatusCode, Url,
    header::{COOKIE, LOCATION, SET_COOKIE},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{NO_NODE, Records, by_key, node_packages, process::Server};

/// Longest wait for what must come.
const PATIENCE: Duration = Duration::from_secs(120);

/// The OAuth clients that it knows: id and secret.
pub const CLIENTS: [(&str, &str); 2] = [
    ("first-client", "first-secret-of-32-characters-or-more"),
    ("second-client", "second-secret-of-32-characters-or-more"),
];

/// A running provider.
pub struct OidcProvider {
    server: Server,
    http: reqwest::Client,
}

/// What provider or product were asked.
#[derive(Clone, Debug, Deserialize)]
pub struct Asked {
    /// `token` or `product`.
    pub kind: String,
    /// What the answer's status was.
    pub status: u16,
    /// The token that was issued, or that came with the request.
    pub access_token: Option<String>,
    /// Of a token request.
    pub grant_type: Option<String>,
    /// The refresh token that came with a token request.
    pub refresh_token: Option<String>,
    /// The refresh token that was issued.
    pub new_refresh_token: Option<String>,
    /// Whether a token request brought a PKCE verifier.
    #[serde(default)]
    pub has_verifier: bool,
    /// Of a product's request.
    pub stream: Option<String>,
    /// From when on the product was asked for changes.
    pub since: Option<String>,
}

/// Where the browser ended.
#[derive(Debug)]
pub enum Browser {
    /// Sent back to one of the addresses that the client may use.
    SentBack(String),
    /// On a page of the provider, with this status.
    Stayed(StatusCode),
}

/// Says what is missing, if anything is.
pub fn installed() -> Result<(), String> {
    if node_packages()?.join("oidc-provider").exists() { Ok(()) } else { Err(NO_NODE.into()) }
}

impl OidcProvider {
    /// With clients that may send people back to `redirect_uris`.
    #[expect(clippy::disallowed_methods, reason = "a test's own browser follows redirects by itself")]
    pub fn start(redirect_uris: &[&str]) -> Self {
        let script = "tests/support/servers/serve_oidc_provider.mjs";
        let packages = node_packages().expect("`installed` was asked before");
        let environment =
            [("NODE_PACKAGES", packages.into_os_string()), ("REDIRECT_URIS", redirect_uris.join(" ").into())];
        let server = Server::start(&["node", script], &environment);
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        Self { server, http: http.expect("a client") }
    }

    /// Its address, which is the product's too.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// A new browser goes to `address` and follows where it is sent, with a person at it who signs in as `person` and
    /// allows what is asked; `nobody` refuses.
    pub async fn browse(&self, address: &str, person: &str) -> Browser {
        let mut url = Url::parse(address).expect("an address");
        url.query_pairs_mut().append_pair("login_hint", person);
        let mut cookies = BTreeMap::new();
        loop {
            let pairs: Vec<_> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let request = self.http.get(url.clone()).header(COOKIE, pairs.join("; "));
            let response = request.send().await.expect("the provider answers");
            for cookie in response.headers().get_all(SET_COOKIE) {
                let text = cookie.to_str().expect("cookies are ASCII");
                if let Some((name, value)) = text.split(';').next().and_then(|pair| pair.split_once('=')) {
                    cookies.insert(name.to_owned(), value.to_owned());
                }
            }
            let Some(location) = response.headers().get(LOCATION) else { return Browser::Stayed(response.status()) };
            url = url.join(location.to_str().expect("addresses are ASCII")).expect("an address");
            if !url.as_str().starts_with(&self.url()) {
                return Browser::SentBack(url.into());
            }
        }
    }

    /// What was asked so far.
    pub async fn log(&self) -> Vec<Asked> {
        serde_json::from_value(self.tell("log", json!({})).await).expect("a log")
    }

    /// The token requests so far.
    pub async fn token_requests(&self) -> Vec<Asked> {
        self.log().await.into_iter().filter(|asked| asked.kind == "token").collect()
    }

    /// The product's requests so far.
    pub async fn product_requests(&self) -> Vec<Asked> {
        self.log().await.into_iter().filter(|asked| asked.kind == "product").collect()
    }

    /// What a person has in a stream.
    pub async fn records(&self, owner: &str, stream: &str) -> Records {
        let records = self.tell("truth", json!({ "owner": owner, "stream": stream })).await;
        by_key(records.as_array().cloned().unwrap_or_default(), "id")
    }

    /// A person changes or makes a record.
    pub async fn change(&self, owner: &str, stream: &str, id: u64, name: &str) {
        self.tell("change", json!({ "owner": owner, "stream": stream, "id": id, "name": name })).await;
    }

    /// Access tokens end before their time.
    pub async fn end_access_tokens(&self) {
        self.tell("expire", json!({})).await;
    }

    /// A person takes back what they allowed.
    pub async fn revoke(&self, owner: &str) {
        self.tell("revoke", json!({ "owner": owner })).await;
    }

    /// How long the token endpoint says that new tokens last; `None` is an hour, as they do.
    pub async fn say_tokens_last(&self, seconds: Option<f64>) {
        self.tell("tell", seconds.map_or(json!({}), |seconds| json!({ "seconds": seconds }))).await;
    }

    /// A refresh token that a person got by themselves, for the client of that id.
    pub async fn refresh_token(&self, owner: &str, client: &str) -> String {
        let given = self.tell("grant", json!({ "owner": owner, "client": client })).await;
        given["refresh_token"].as_str().expect("a token").to_owned()
    }

    /// Somebody else than the program uses a refresh token. Returns the answer's status.
    pub async fn use_refresh_token(&self, token: &str) -> StatusCode {
        let (id, secret) = CLIENTS[0];
        let form =
            [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", id), ("client_secret", secret)];
        let request = self.http.post(format!("{}/token", self.url())).form(&form);
        request.send().await.expect("the provider answers").status()
    }

    /// From now on good answers of `token` or `product` are held back, after all that they tell has come true.
    pub async fn hold(&self, place: &str) {
        self.tell("hold", json!({ "place": place })).await;
    }

    /// Waits until an answer is held back, which must come.
    pub async fn held(&self) {
        timeout(PATIENCE, self.tell("held", json!({}))).await.expect("there is something to hold");
    }

    /// Lets them go.
    pub async fn release(&self) {
        self.tell("release", json!({})).await;
    }

    async fn tell(&self, command: &str, body: Value) -> Value {
        let request = self.http.post(format!("{}/_test/{command}", self.url())).body(body.to_string());
        let response = request.send().await.expect("the provider answers");
        assert!(response.status().is_success(), "{command}: {}", response.status());
        response.json().await.expect("JSON")
    }
}
