//! A receiver of webhooks on this machine: notes what comes and answers as it is told.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// One request.
#[derive(Clone, Debug)]
pub struct Received {
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// How it answers: the head of an answer without body, or not at all.
type Answer = Arc<Mutex<Option<String>>>;

pub struct Receiver {
    pub port: u16,
    answer: Answer,
    received: watch::Sender<Vec<Received>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (received, answer) = (watch::channel(Vec::new()).0, Answer::default());
        *answer.lock().unwrap() = Some("204 No Content".to_owned());
        let (notes, answers) = (received.clone(), answer.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, notes.clone(), answers.clone()));
            }
        });
        Self { port, answer, received, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/in/path-secret", self.port)
    }

    /// From now on it answers so; without a head it keeps callers waiting.
    pub fn answers(&self, head: Option<&str>) {
        *self.answer.lock().unwrap() = head.map(str::to_owned);
    }

    pub fn all(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// Waits until so many requests have come.
    pub async fn wait_for(&self, count: usize) {
        self.received.subscribe().wait_for(|received| received.len() >= count).await.unwrap();
    }
}

async fn serve(mut stream: TcpStream, received: watch::Sender<Vec<Received>>, answer: Answer) {
    let mut bytes = Vec::new();
    let request = loop {
        if let Some(request) = whole(&bytes) {
            break request;
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
            _ => return,
        }
    };
    received.send_modify(|all| all.push(request));
    let head = answer.lock().unwrap().clone();
    let Some(head) = head else { return std::future::pending().await };
    let text = format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    // Who asked may be gone.
    let _gone = stream.write_all(text.as_bytes()).await;
}

fn whole(bytes: &[u8]) -> Option<Received> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n")?;
    let headers: Vec<_> = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    (body.len() >= length).then(|| Received { headers, body: body.to_owned() })
}
