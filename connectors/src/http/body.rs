//! Collects an answer's body under a cap that counts decompressed bytes.

use bytes::{Bytes, BytesMut};

use super::client::Fault;

/// How much to reserve at most on the word of a `Content-Length` alone.
const RESERVE_MAX_BYTES: u64 = 4 << 20;

/// The whole body of `answer`, decompressed; never holds more than `max_bytes` and one chunk.
pub(super) async fn collect(answer: &mut reqwest::Response, max_bytes: u64) -> Result<Bytes, Fault> {
    let announced = answer.content_length();
    if announced.is_some_and(|bytes| bytes > max_bytes) {
        return Err(Fault::TooLarge);
    }
    let Some(first) = answer.chunk().await? else { return Ok(Bytes::new()) };
    // One chunk is the whole body of a short answer: handed on without a copy.
    let Some(second) = next_within(answer, first.len() as u64, max_bytes).await? else { return Ok(first) };
    let expected = announced.unwrap_or(first.len() as u64 * 4).min(RESERVE_MAX_BYTES);
    let mut whole = BytesMut::with_capacity((expected as usize).max(first.len() + second.len()));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while let Some(chunk) = next_within(answer, whole.len() as u64, max_bytes).await? {
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// The next chunk, unless it would lift the `collected` bytes over the cap.
async fn next_within(answer: &mut reqwest::Response, collected: u64, max_bytes: u64) -> Result<Option<Bytes>, Fault> {
    if collected > max_bytes {
        return Err(Fault::TooLarge);
    }
    let chunk = answer.chunk().await?;
    match &chunk {
        Some(bytes) if collected + bytes.len() as u64 > max_bytes => Err(Fault::TooLarge),
        _ => Ok(chunk),
    }
}
