//! `up --sandbox`: a make-believe product beside the server, connected by OAuth and backed up, all through the public
//! API as a person's program would.

use std::{net::SocketAddr, path::Path};

use listbackup_engine::{
    Error, ErrorKind, Result,
    connectors::http::{AUTHORIZATION, AddressGuard, HttpClient, Method, Request, Response},
};
use serde_json::{Value, json};
use url::{Host, Url};

use crate::{
    sandbox::{Sandbox, SandboxSettings},
    worker::http_client,
};

/// Name of the source that the demonstration connects.
const SOURCE: &str = "Sandbox";

/// The make-believe product, connected.
pub struct Demo {
    sandbox: Sandbox,
    run_id: String,
    /// Where it was at an earlier start, when it cannot be there again.
    moved_from: Option<SocketAddr>,
}

impl Demo {
    /// Ends it.
    ///
    /// # Errors
    /// When its server ended by a fault.
    pub async fn stop(self) -> Result<()> {
        Ok(self.sandbox.stop().await?)
    }

    /// What to tell the person who started it.
    pub fn describe(&self) -> String {
        let url = self.sandbox.url();
        let here = format!("  sandbox   {url} (connected by OAuth; backup {} is running)", self.run_id);
        match self.moved_from {
            Some(former) => format!(
                "{here}\n            it was at http://{former} before, where something else listens now: set the base_url of other \
                 sources that you connected to it to {url}"
            ),
            None => here,
        }
    }
}

/// Serves the product, connects it unless an earlier start did, and orders a backup. No worker may be at work yet: one would go on
/// with a backup of the address and the sign-in of before.
///
/// # Errors
/// What the API answers; an address that cannot be bound.
pub async fn start(api: &str, key_file: &Path) -> Result<Demo> {
    let client = Client::new(api, key_file)?;
    let known = client.known().await?;
    let former = known.as_ref().and_then(address_of);
    let (sandbox, moved_from) = serve(former).await?;
    let connected = client.connect(known, &sandbox.url()).await?;
    let run = client.call(Method::POST, &format!("/sources/{}/sync", id(&connected)?), None).await?;
    Ok(Demo { run_id: id(&run)?.to_owned(), sandbox, moved_from })
}

/// Serves the product where it was before, since sources name its address; elsewhere, and with that address, when it is taken.
async fn serve(former: Option<SocketAddr>) -> Result<(Sandbox, Option<SocketAddr>)> {
    if let Some(listen) = former {
        match Sandbox::start(SandboxSettings { listen, ..SandboxSettings::default() }).await {
            Ok(sandbox) => return Ok((sandbox, None)),
            Err(error) => tracing::warn!(%error, %listen, "the sandbox cannot be where it was before"),
        }
    }
    Ok((Sandbox::start(SandboxSettings::default()).await?, former))
}

/// Where the product of a source was, when that is an address of this machine.
fn address_of(source: &Value) -> Option<SocketAddr> {
    let url: Url = source.get("settings")?.get("base_url")?.as_str()?.parse().ok()?;
    let Some(Host::Ipv4(host)) = url.host() else { return None };
    host.is_loopback().then_some(SocketAddr::from((host, url.port()?)))
}

struct Client {
    http: HttpClient,
    base: Url,
    key: String,
}

impl Client {
    fn new(api: &str, key_file: &Path) -> Result<Self> {
        let base = api.parse().map_err(|_| Error::new(ErrorKind::Bug, "the API's own address is no URL"))?;
        Ok(Self { http: http_client(AddressGuard::person())?, base, key: std::fs::read_to_string(key_file)? })
    }

    /// The source that an earlier start connected.
    async fn known(&self) -> Result<Option<Value>> {
        let list = self.call(Method::GET, "/sources", None).await?;
        let sources = list.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        Ok(sources.into_iter().find(|source| source.get("name") == Some(&json!(SOURCE))))
    }

    /// The source of the sandbox, signed in. The sandbox forgets its grants when it stops, so every start signs in anew.
    async fn connect(&self, known: Option<Value>, sandbox: &str) -> Result<Value> {
        let defaults = SandboxSettings::default();
        let settings = json!({ "base_url": sandbox, "credentials": {
            "auth_type": "oauth", "client_id": defaults.client_id, "client_secret": defaults.client_secret,
        }});
        let source = match known {
            Some(source) => {
                let path = format!("/sources/{}", id(&source)?);
                self.call(Method::PATCH, &path, Some(json!({ "settings": settings }))).await?
            }
            None => {
                let body = json!({ "name": SOURCE, "integration": "sandbox", "settings": settings });
                self.call(Method::POST, "/sources", Some(body)).await?
            }
        };
        let body = json!({ "source_id": id(&source)? });
        let started = self.call(Method::POST, "/integrations/sandbox/oauth/start", Some(body)).await?;
        let authorize = started.get("authorize_url").and_then(Value::as_str).and_then(|url| url.parse().ok());
        let authorize = authorize.ok_or_else(|| Error::new(ErrorKind::Bug, "the sign-in has no address"))?;
        // The sandbox approves by itself and sends the browser on to our callback: following is all that a person does.
        self.accept(self.http.send_once(Request::get(authorize)).await?)?;
        Ok(source)
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let url = self.base.join(path).map_err(|_| Error::new(ErrorKind::Bug, "a path of the API is no URL"))?;
        let mut request = match &body {
            Some(body) => Request::post(url, "application/json", body.to_string()),
            None => Request::get(url),
        };
        request.method = method;
        let request = request.with_secret(AUTHORIZATION, &format!("Bearer {}", self.key))?;
        let response = self.accept(self.http.send_once(request).await?)?;
        serde_json::from_slice(&response.body)
            .map_err(|error| Error::new(ErrorKind::Bug, format!("the API did not answer JSON: {error}")))
    }

    fn accept(&self, response: Response) -> Result<Response> {
        if response.status.is_success() {
            return Ok(response);
        }
        let text = String::from_utf8_lossy(&response.body).into_owned();
        Err(Error::new(ErrorKind::Invalid, format!("the demonstration was refused: {text}"))
            .with("path", response.url.path())
            .with("status", response.status))
    }
}

fn id(thing: &Value) -> Result<&str> {
    thing.get("id").and_then(Value::as_str).ok_or_else(|| Error::new(ErrorKind::Bug, "an answer of the API has no id"))
}
