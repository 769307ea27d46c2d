//! Stands between a client and what stands in for AWS: hears every operation, and does to it what a test says.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// What becomes of an operation.
pub enum Fate {
    /// It happens as it was asked for.
    Happens,
    /// It happens, and instead of the answer comes an error.
    IsLost,
    /// Nothing happens, and this is the answer.
    IsAnswered(u16, Value),
    /// The same, with an answer that depends on what was asked.
    IsAnsweredBy(fn(&Value) -> (u16, Value)),
    /// Of the keys of a batch only so many are asked for, and the others come back as not processed.
    LeavesOver(usize),
}

/// An operation of a service that takes JSON.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Its name: `GetItem`.
    pub operation: String,
    pub request: Value,
    pub answer: Value,
}

/// Gone when dropped, but for what is under way.
pub struct Between {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    to: String,
    fates: Mutex<VecDeque<Fate>>,
    heard: Mutex<Vec<Heard>>,
}

impl Between {
    /// Before the service at an address.
    pub async fn before(endpoint_url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared { to: endpoint_url.to_owned(), fates: Mutex::default(), heard: Mutex::default() });
        let weak = Arc::downgrade(&shared);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Some(shared) = weak.upgrade() else { return };
                tokio::spawn(async move { shared.serve(client).await });
            }
        });
        Self { url, shared }
    }

    /// What becomes of the next operations, one after another; all that follow happen.
    pub fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        self.shared.fates.lock().unwrap().extend(fates);
    }

    /// The operations since this was asked last.
    pub fn heard(&self) -> Vec<Heard> {
        assert!(self.shared.fates.lock().unwrap().is_empty(), "fewer operations came than a fate was set for");
        std::mem::take(&mut *self.shared.heard.lock().unwrap())
    }

    /// Their names.
    pub fn operations(&self) -> Vec<String> {
        self.heard().into_iter().map(|heard| heard.operation).collect()
    }
}

impl Shared {
    /// One request, after which the connection ends.
    async fn serve(&self, client: TcpStream) {
        let mut client = BufReader::new(client);
        let Some((operation, request)) = read(&mut client).await else { return };
        let fate = self.fates.lock().unwrap().pop_front().unwrap_or(Fate::Happens);
        let (status, answer) = match fate {
            Fate::Happens => self.forward(&operation, &request).await,
            Fate::IsLost => {
                let (status, answer) = self.forward(&operation, &request).await;
                assert_eq!(status, 200, "an operation was to happen: {answer}");
                (500, json!({ "__type": "InternalServerError", "message": "lost" }))
            }
            Fate::IsAnswered(status, answer) => (status, answer),
            Fate::IsAnsweredBy(answer) => answer(&request),
            Fate::LeavesOver(0) => (200, json!({ "Responses": {}, "UnprocessedKeys": request["RequestItems"] })),
            Fate::LeavesOver(count) => {
                let (mut fewer, mut over) = (request.clone(), request["RequestItems"].clone());
                for (table, asked) in over.as_object_mut().expect("a batch") {
                    let keys = asked["Keys"].as_array_mut().expect("keys");
                    fewer["RequestItems"][table]["Keys"] = keys.drain(..count).collect();
                }
                let (status, mut answer) = self.forward(&operation, &fewer).await;
                answer["UnprocessedKeys"] = over;
                (status, answer)
            }
        };
        let text = answer.to_string();
        self.heard.lock().unwrap().push(Heard { operation, request, answer });
        let head = format!(
            "HTTP/1.1 {status} told\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            text.len()
        );
        // Who no longer listens does not hear it.
        let _ = client.get_mut().write_all((head + &text).as_bytes()).await;
    }

    async fn forward(&self, operation: &str, request: &Value) -> (u16, Value) {
        super::aws::call(&self.to, operation, request).await
    }
}

/// The operation that a request names, and what is asked.
async fn read(client: &mut BufReader<TcpStream>) -> Option<(String, Value)> {
    let (mut operation, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        client.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(": ").or(line.trim_end().split_once(':')) else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "x-amz-target" => operation = value.rsplit('.').next().unwrap_or_default().to_owned(),
            "content-length" => length = value.parse().expect("a length"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body).await.ok()?;
    Some((operation, serde_json::from_slice(&body).expect("a request is JSON")))
}
