//! What the stand-in wrote down, and which rights AWS asks for each request.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::needs::needs;

/// A signed request.
#[derive(Clone, Debug, Deserialize)]
pub struct Request {
    /// The access key's id: the role of the process.
    pub by: String,
    /// Such as `dynamodb`.
    pub service: String,
    /// The operation, for services that have it in a header.
    pub target: String,
    pub method: String,
    pub path: String,
    pub query: serde_json::Map<String, Value>,
    /// Whether it locks the object that it puts.
    pub locks: bool,
    /// When it is JSON.
    #[serde(default)]
    pub body: Value,
    pub status: Option<u16>,
    pub answer_bytes: u64,
    pub begun_ms: u64,
    pub ended_ms: u64,
}

impl Request {
    /// Long enough for nothing else than a poll that found nothing.
    pub fn is_empty_poll(&self) -> bool {
        self.target == "ReceiveMessage" && self.answer_bytes < 40 && self.ended_ms - self.begun_ms > 5_000
    }

    /// Action and resource of each right that it needs.
    pub fn needs(&self) -> Vec<(String, String)> {
        needs(self)
    }
}

/// The file that the stand-in writes.
pub struct Record {
    pub path: PathBuf,
}

impl Record {
    /// All requests of the fleet's processes until now.
    pub fn requests(&self) -> Vec<Request> {
        let text = fs::read_to_string(&self.path).expect("the stand-in writes the file");
        // The last line may be under way.
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        whole.lines().filter_map(of_the_fleet).collect()
    }

    /// Returns once the worker has polled in vain, begun after everything that is written now: nothing is under way any more.
    /// The number of requests until then.
    pub async fn quiet(&self) -> usize {
        let now_ms = self.requests().last().map_or(0, |request| request.ended_ms);
        let is_quiet =
            |request: &Request| request.by == "role-worker" && request.begun_ms > now_ms && request.is_empty_poll();
        let mut tail = Command::new("tail");
        tail.args(["-n", "+1", "-F"]).arg(&self.path).stdout(Stdio::piped()).kill_on_drop(true);
        let mut tail = tail.spawn().expect("tail is there");
        let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
        let waits = async {
            let mut count = 0;
            while let Some(line) = lines.next_line().await.expect("text") {
                let Some(request) = of_the_fleet(&line) else { continue };
                count += 1;
                if is_quiet(&request) {
                    return count;
                }
            }
            panic!("tail has ended");
        };
        tokio::time::timeout(Duration::from_secs(120), waits).await.expect("the worker polls")
    }
}

/// A line of the file, if one of the fleet's processes asked.
fn of_the_fleet(line: &str) -> Option<Request> {
    let request: Request = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    request.by.starts_with("role-").then_some(request)
}
