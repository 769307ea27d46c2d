//! Reads everything that a retriever finds, one slice after the other: for what is needed before streams are.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{json, retriever::Reader, session::Session, slice::Slice, stream::Stream};
use crate::{Error, ErrorKind, Result};

/// Partitions found ahead of the one being read.
const PARTITIONS_AHEAD: usize = 16;

/// Tells every record to `found` with its slice, until it answers false.
///
/// # Errors
/// As for requests, and those of `found`. A part that the product refused is an error here: what comes of the records must
/// be whole.
pub(crate) async fn sweep(
    stream: &Arc<Stream>,
    session: &Arc<Session>,
    mut found: impl FnMut(&Slice, json::Slice<'_>) -> Result<bool>,
) -> Result<()> {
    let (to, mut from) = mpsc::channel(PARTITIONS_AHEAD);
    let search = async move { stream.retriever.router.partitions(session, None, &to).await };
    // Owns its end of the channel: when it stops early, so does the search.
    let read = async move {
        while let Some(slice) = from.recv().await {
            let mut reader = Reader::new(Arc::clone(stream), Arc::clone(session), slice.clone(), None);
            while let Some(batch) = reader.next_page().await? {
                for record in &batch.records {
                    if !found(&slice, json::Slice::checked(batch.text(record)))? {
                        return Ok(());
                    }
                }
            }
            if let Some(unread) = reader.unread() {
                return Err(Error::new(ErrorKind::Denied, unread.reason).with("part", unread.item));
            }
        }
        Ok(())
    };
    let (searched, read) = tokio::join!(search, read);
    read?;
    match searched {
        Err(error) if error.kind() == ErrorKind::Cancelled => Ok(()),
        Err(error) => Err(error),
        Ok(parents) => match parents.unread.into_iter().next() {
            Some(unread) => Err(Error::new(ErrorKind::Denied, unread.reason).with("part", unread.item)),
            None => Ok(()),
        },
    }
}
