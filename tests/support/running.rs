//! `listbackup up` and `listbackup sandbox` as running processes, and their APIs.

#![allow(dead_code, reason = "each test binary uses a part of the kit")]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::program::{Program, binary, run};

/// Longest wait for anything that must come.
const PATIENCE: Duration = Duration::from_secs(600);

impl Program {
    /// What a command prints with `--json`.
    pub async fn json(&self, name: &str, arguments: &[&str]) -> Value {
        let printed = run(self.command(name).arg("--json").args(arguments)).await;
        serde_json::from_slice(&printed).expect("one JSON document")
    }
}

/// A program that runs until it is killed or dropped.
pub struct Running {
    child: Child,
    url: String,
    key: String,
}

impl Running {
    /// `listbackup up` over the program's data directory, on a free port.
    pub fn up(program: &Program) -> Self {
        Self::up_with(program, &[])
    }

    /// The same, with further arguments.
    pub fn up_with(program: &Program, arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.arg("up").arg("--data-dir").arg(program.data_dir()).args(arguments);
        command.args(["--listen", "127.0.0.1:0", "--allow-network", "127.0.0.1/32"]);
        let mut running = Self::start(command);
        running.key = std::fs::read_to_string(program.data_dir().join("access-key")).expect("the owner's key");
        running
    }

    /// A program that tells its address when it is up.
    pub fn start(command: Command) -> Self {
        Self::start_with(command, Stdio::null())
    }

    /// The same, with a place for its log.
    pub fn start_with(mut command: Command, log: Stdio) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let url = BufReader::new(stdout)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(format!("http://{}", line.split("http://").nth(1)?.split_whitespace().next()?)))
            .expect("the program tells its address");
        Self { child, url, key: String::new() }
    }

    /// Its address, without a slash at the end.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// The owner's access key.
    pub fn key(&self) -> String {
        self.key.clone()
    }

    /// Its API, as its owner.
    pub fn api(&self) -> Api {
        Api { url: self.url.clone(), key: self.key.clone() }
    }

    /// The API as whoever has this access key.
    pub fn api_of(&self, key: &str) -> Api {
        Api { url: self.url.clone(), key: key.to_owned() }
    }

    /// SIGTERM: the end in good order, and how it was.
    pub fn stop(mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        Command::new("kill").arg(id).status().expect("a signal can be sent");
        self.child.wait().expect("the program ends")
    }

    /// SIGKILL: no drain, no good-bye.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// `listbackup sandbox` with its streams in proportion to `records` contacts.
pub fn sandbox(records: u64, rate_limit: u32) -> Running {
    let mut command = Command::new(binary());
    command.args(["sandbox", "--listen", "127.0.0.1:0", "--records", &records.to_string()]);
    command.args(["--rate-limit", &rate_limit.to_string()]);
    Running::start(command)
}

/// What the sandbox holds now, by the text of the id.
pub async fn truth(sandbox: &str, stream: &str) -> BTreeMap<String, Value> {
    let answer = reqwest::get(format!("{sandbox}/_sandbox/truth/{stream}")).await.expect("the sandbox answers");
    let text = answer.text().await.expect("the sandbox answers to the end");
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("each line is a record"))
        .map(|record| (record["id"].to_string(), record))
        .collect()
}

/// The API of a running program.
pub struct Api {
    url: String,
    key: String,
}

impl Api {
    /// The API at an address, as whoever has the access key.
    pub fn at(url: String, key: String) -> Self {
        Self { url, key }
    }

    /// A POST without sign-in.
    pub async fn post<T: DeserializeOwned>(url: &str, body: &Value) -> T {
        let answer = reqwest::Client::new().post(url).json(body).send().await.expect("an answer");
        answer.error_for_status().expect("a good answer").json().await.expect("JSON")
    }

    /// A request as the owner.
    pub async fn call(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Value {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.url)).bearer_auth(&self.key);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("a whole answer"));
        assert!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// Connects the sandbox by its API key. Returns the source's id.
    pub async fn connect_sandbox(&self, url: &str) -> String {
        self.connect_sandbox_as("Sandbox", url, None).await
    }

    /// The same under a name, for some of its streams only.
    pub async fn connect_sandbox_as(&self, name: &str, url: &str, streams: Option<&[&str]>) -> String {
        let settings = json!({
            "base_url": url,
            "credentials": { "auth_type": "api_key", "api_key": "sandbox-key" },
        });
        let mut body = json!({ "name": name, "integration": "sandbox", "settings": settings });
        if let Some(streams) = streams {
            body["streams"] = json!(streams);
        }
        let source = self.call(reqwest::Method::POST, "/sources", Some(&body)).await;
        source["id"].as_str().expect("an id").to_owned()
    }

    /// Orders a backup of a source. Returns the run's id.
    pub async fn sync(&self, source: &str) -> String {
        let run = self.call(reqwest::Method::POST, &format!("/sources/{source}/sync"), None).await;
        run["id"].as_str().expect("an id").to_owned()
    }

    /// True when the run ends within that time.
    pub async fn ends_within(&self, run: &str, time: Duration) -> bool {
        timeout(time, self.ended(run)).await.is_ok()
    }

    /// Follows the run's events, which end with it.
    pub async fn ended(&self, run: &str) -> Value {
        let path = format!("/runs/{run}");
        let follow = async {
            let events = reqwest::Client::new().get(format!("{}{path}/events", self.url)).bearer_auth(&self.key);
            let events = events.send().await.expect("an answer").error_for_status().expect("events");
            events.text().await.expect("events to the end")
        };
        let told = timeout(PATIENCE, follow).await;
        let run = self.call(reqwest::Method::GET, &path, None).await;
        let has_ended = !matches!(run["status"].as_str(), Some("queued" | "running"));
        assert!(has_ended, "the run does not end: {run}; {told:?}");
        run
    }
}
