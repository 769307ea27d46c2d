//! A server in the test's own runtime: with the clock paused, nothing else may be waited for.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// An answer as it goes over the wire, and what comes after it.
pub struct Reply(pub Vec<u8>, pub Then);

#[derive(Clone, Copy, PartialEq)]
pub enum Then {
    NextRequest,
    Close,
    /// A byte a second.
    Trickle,
    /// As fast as it goes.
    Endless,
    Silence,
}

pub fn raw(head: &str, body: &[u8], then: Then) -> Reply {
    Reply([format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), body].concat(), then)
}

pub fn answer(head: &str, body: &str) -> Reply {
    raw(&format!("{head}\r\ncontent-length: {}", body.len()), body.as_bytes(), Then::NextRequest)
}

pub fn page(body: Value) -> Reply {
    answer("200 OK", &body.to_string())
}

pub fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(body).unwrap();
    packed.finish().unwrap()
}

/// Answers by the number of the request, from 0, and by its path with the query.
pub type Answers = fn(usize, &str) -> Reply;

/// A server in this runtime; the second value counts requests.
pub async fn serve(answers: Answers) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (base, asked) = (format!("http://{}", listener.local_addr().unwrap()), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((peer, _)) = listener.accept().await {
            tokio::spawn(talk(peer, answers, Arc::clone(&counter)));
        }
    });
    (base, asked)
}

async fn talk(mut peer: TcpStream, answers: Answers, asked: Arc<AtomicUsize>) -> std::io::Result<()> {
    while let Some(target) = request(&mut peer).await? {
        let Reply(bytes, then) = answers(asked.fetch_add(1, Ordering::SeqCst), &target);
        peer.write_all(&bytes).await?;
        match then {
            Then::NextRequest => {}
            Then::Close => return Ok(()),
            Then::Silence => std::future::pending().await,
            Then::Trickle => loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                peer.write_all(b" ").await?;
            },
            Then::Endless => loop {
                peer.write_all(&[b' '; 65_536]).await?;
            },
        }
    }
    Ok(())
}

/// The target of the next request, once all of it came.
async fn request(peer: &mut TcpStream) -> std::io::Result<Option<String>> {
    let mut text = Vec::new();
    loop {
        let whole = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = whole.split_once("\r\n\r\n") {
            let length = head.to_lowercase().split_once("content-length: ").map(|(_, rest)| rest.to_owned());
            let length = length.and_then(|rest| rest.lines().next()?.trim().parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return Ok(head.split(' ').nth(1).map(str::to_owned));
            }
        }
        if peer.read_buf(&mut text).await? == 0 {
            return Ok(None);
        }
    }
}
