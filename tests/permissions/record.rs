//! What the stand-in wrote down, and which rights AWS asks for each request.

use std::{fs, path::PathBuf, time::Duration};

use serde::Deserialize;
use serde_json::Value;

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
        let all =
            whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        all.filter(|request: &Request| request.by.starts_with("role-")).collect()
    }

    /// Returns once the worker has polled in vain, begun after everything that is written now: nothing is under way any more.
    /// The number of requests until then.
    pub async fn quiet(&self) -> usize {
        let now_ms = self.requests().last().map_or(0, |request| request.ended_ms);
        let waits = async {
            loop {
                let all = self.requests();
                let is_quiet = |request: &Request| {
                    request.by == "role-worker" && request.begun_ms > now_ms && request.is_empty_poll()
                };
                if let Some(place) = all.iter().position(is_quiet) {
                    return place + 1;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), waits).await.expect("the worker polls")
    }
}
