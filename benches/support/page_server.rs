//! A product of 127.0.0.1 that answers from memory, in a process of its own so that only the reader is measured.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use crate::pages::{CHILDREN_PATH, CONTACTS_PATH, PARENTS_PATH, Product, SEGMENTS_PATH};

/// What a page of a segment takes longer than any other.
const SEGMENT_LATENCY: Duration = Duration::from_millis(20);

/// Serves `GET` of the paths of [`crate::pages`] on a free port for ever; prints the address first.
///
/// # Errors
/// When it cannot listen.
pub fn serve(product: Product) -> io::Result<()> {
    let product = Arc::new(product);
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("listening on {}", listener.local_addr()?);
    for connection in listener.incoming() {
        let (connection, product) = (connection?, Arc::clone(&product));
        // A client that goes away ends its connection, not the server.
        thread::spawn(move || answer_all(&connection, &product));
    }
    Ok(())
}

fn answer_all(connection: &TcpStream, product: &Product) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut requests = BufReader::new(connection);
    while let Some(target) = next_target(&mut requests)? {
        let (status, parts) = match answer(product, &target) {
            Some(parts) => ("200 OK", parts),
            None => ("404 Not Found", [b"{}".as_slice().into(), Vec::new().into()]),
        };
        let size_bytes: usize = parts.iter().map(|part| part.len()).sum();
        let mut writer = connection;
        write!(writer, "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {size_bytes}\r\n\r\n")?;
        parts.iter().try_for_each(|part| writer.write_all(part))?;
    }
    Ok(())
}

/// The target of the next request; `None` when the client is done.
fn next_target(requests: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut target = None;
    for line in requests.lines() {
        let line = line?;
        if line.is_empty() {
            return Ok(Some(target.unwrap_or_default()));
        }
        target = target.or_else(|| Some(line.split(' ').nth(1).unwrap_or_default().to_owned()));
    }
    Ok(None)
}

/// A page in two parts: its records, which are kept, and its end.
fn answer<'p>(product: &'p Product, target: &str) -> Option<[std::borrow::Cow<'p, [u8]>; 2]> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let number = |name: &str| -> Option<usize> {
        let prefix = format!("{name}=");
        query.split('&').find_map(|pair| pair.strip_prefix(&prefix))?.parse().ok()
    };
    match path {
        CONTACTS_PATH => product.contacts(number("after").unwrap_or(0)),
        SEGMENTS_PATH => {
            thread::sleep(SEGMENT_LATENCY);
            product.segment(number("segment")?, number("after"))
        }
        PARENTS_PATH => product.parents(number("after").unwrap_or(0)),
        CHILDREN_PATH => product.children(number("parent")?),
        _ => None,
    }
}
