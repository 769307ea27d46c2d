//! Serves pages from memory over HTTP/1.1 on 127.0.0.1, in a process of its own so that only the reader is measured.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

/// Serves `GET /contacts?after=K` (page K, 0 without it) on a free port for ever; prints the address first.
///
/// # Errors
/// When it cannot listen.
pub fn serve(pages: Vec<Vec<u8>>) -> io::Result<()> {
    let pages = Arc::new(pages);
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("listening on {}", listener.local_addr()?);
    for connection in listener.incoming() {
        let (connection, pages) = (connection?, Arc::clone(&pages));
        // A client that goes away ends its connection, not the server.
        thread::spawn(move || answer_all(&connection, &pages));
    }
    Ok(())
}

fn answer_all(connection: &TcpStream, pages: &[Vec<u8>]) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut requests = BufReader::new(connection);
    while let Some(page) = next_request(&mut requests)? {
        let (status, body) = match pages.get(page) {
            Some(body) => ("200 OK", body.as_slice()),
            None => ("404 Not Found", &b"{}"[..]),
        };
        let mut writer = connection;
        write!(
            writer,
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )?;
        writer.write_all(body)?;
    }
    Ok(())
}

/// The number of the page that the next request asks for; `None` when the client is done.
fn next_request(requests: &mut impl BufRead) -> io::Result<Option<usize>> {
    let mut page = None;
    for line in requests.lines() {
        let line = line?;
        if line.is_empty() {
            return Ok(Some(page.unwrap_or(usize::MAX)));
        }
        if page.is_none() {
            page = Some(page_in(&line));
        }
    }
    Ok(None)
}

fn page_in(request_line: &str) -> usize {
    let target = request_line.split(' ').nth(1).unwrap_or_default();
    match target.split_once('?') {
        None if target == "/contacts" => 0,
        Some(("/contacts", query)) => {
            let after = query.split('&').find_map(|pair| pair.strip_prefix("after="));
            after.map_or(Some(0), |after| after.parse().ok()).unwrap_or(usize::MAX)
        }
        _ => usize::MAX,
    }
}
