//! What shows of attachments: how pages name them, and what comes of opening them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::TryStreamExt as _;

use super::{
    Trial,
    reading::{Named, Reading},
};
use crate::{
    Attachment, AttachmentBody, AttachmentRequest, Error, ErrorKind, Result, ResumeAt, StreamSpec,
    http::injector::{Fault, Injector},
};

/// Attachments of a stream that are opened.
const OPENED_MAX: usize = 2;
/// Longest id.
const ID_MAX_BYTES: usize = 1024;
/// What a pause asks for.
const PAUSE_S: u64 = 1;
/// Opening one must end within this time.
const DEADLINE: Duration = Duration::from_secs(150);

/// The content of an opened attachment, and what would let it go on.
struct Content {
    offset_bytes: u64,
    validator: Option<String>,
    bytes: Vec<u8>,
}

impl Trial<'_> {
    /// Lines 27 to 32, where pages name attachments.
    pub(super) async fn attachments(&self, stream: &Arc<StreamSpec>, plain: &Reading) {
        if plain.attachments.is_empty() {
            return;
        }
        self.ids(stream, plain);
        let again = self.read(&self.watcher(None), stream, None, None).await;
        if again.end().is_some() {
            self.named_again(stream, plain, &again);
        }
        let mut chosen: Vec<&Named> = plain.attachments.iter().collect();
        chosen.sort_by_key(|named| named.attachment.size_bytes.unwrap_or(u64::MAX));
        for named in chosen.into_iter().take(OPENED_MAX) {
            self.content(stream, &named.attachment).await;
        }
    }

    /// Line 28, in one reading.
    fn ids(&self, stream: &StreamSpec, plain: &Reading) {
        let name = &stream.name;
        let count = plain.attachments.len();
        let different = identities(plain).len();
        let long = plain.attachments.iter().filter(|named| named.attachment.id.len() > ID_MAX_BYTES).count();
        let seen = format!("{name}: {count} attachments, {long} ids too long, {} twice", count - different);
        self.ledger.note(28, long == 0 && different == count, &seen);
    }

    /// Lines 27 and 28: the same attachments in two readings of what did not change.
    fn named_again(&self, stream: &StreamSpec, plain: &Reading, again: &Reading) {
        let name = &stream.name;
        let (first, second) = (identities(plain), identities(again));
        let seen = format!("{name}: {} attachments, and {} when read again", first.len(), second.len());
        self.ledger.note(27, first.len() == second.len(), &seen);
        if first.len() == second.len() {
            self.ledger.note(28, first == second, &format!("{name}: the ids of two reads"));
        }
    }

    /// Line 27 after going on from a position.
    pub(super) fn named_after(&self, stream: &StreamSpec, plain: &Reading, count: usize, rest: &Reading) {
        let wanted = plain.attachments.iter().filter(|named| named.record >= count);
        let found = identities(rest);
        let missing = wanted.filter(|named| !found.contains(&named.identity)).count();
        if !plain.attachments.is_empty() {
            let seen = format!("{}: gone on after {count} records, {missing} attachments missing", stream.name);
            self.ledger.note(27, missing == 0, &seen);
        }
    }

    /// Lines 29 to 32 of one attachment.
    async fn content(&self, stream: &Arc<StreamSpec>, attachment: &Attachment) {
        let what = format!("{} {}", stream.name, attachment.name);
        let watcher = self.watcher(None);
        let whole = match self.open(&watcher, stream, attachment, None).await {
            Ok(whole) => whole,
            // Reading a stream opens no attachment: most recordings hold none.
            Err(_) if watcher.unrecorded().is_some() => return,
            Err(error) => {
                return self.ledger.broken(32, &format!("{what}: it cannot be opened at all: {}", told(&error)));
            }
        };
        let length = whole.bytes.len() as u64;
        if let Some(size) = attachment.size_bytes {
            self.ledger.note(30, size == length, &format!("{what}: {size} bytes told, {length} came"));
        }
        if let Some(version) = &attachment.version
            && let Ok(again) = self.open(&self.watcher(None), stream, attachment, None).await
        {
            let is_same = again.bytes == whole.bytes;
            self.ledger.note(29, is_same, &format!("{what}: the content of version {version} twice"));
        }
        self.goes_on(stream, attachment, &whole, &what).await;
        let Some(place) = watcher.seen().last().map(|seen| seen.place.clone()) else { return };
        for fault in [
            Fault::Cut,
            Fault::Status { status: 404, retry_after_s: None },
            Fault::Status { status: 429, retry_after_s: Some(PAUSE_S) },
            Fault::Status { status: 503, retry_after_s: None },
        ] {
            let watcher = self.watcher(Some((place.clone(), fault.clone())));
            let spoilt = self.open(&watcher, stream, attachment, None).await;
            if watcher.struck() > 0 {
                self.opened_spoilt(&fault, &spoilt, &whole, &what);
            }
        }
    }

    /// Line 31: with `resume`, the very same content from there on, or everything anew.
    async fn goes_on(&self, stream: &Arc<StreamSpec>, attachment: &Attachment, whole: &Content, what: &str) {
        let Some(validator) = whole.validator.clone() else { return };
        let half = whole.bytes.len() / 2;
        let resume = ResumeAt { offset_bytes: half as u64, validator };
        let Ok(rest) = self.open(&self.watcher(None), stream, attachment, Some(resume)).await else { return };
        let is_kept = usize::try_from(rest.offset_bytes)
            .is_ok_and(|offset| whole.bytes.get(offset..).is_some_and(|wanted| wanted == rest.bytes));
        self.ledger.note(31, is_kept, &format!("{what}: gone on after {half} bytes, from {}", rest.offset_bytes));
    }

    fn opened_spoilt(&self, fault: &Fault, spoilt: &Result<Content>, whole: &Content, what: &str) {
        let is_whole = spoilt.as_ref().is_ok_and(|content| content.bytes == whole.bytes);
        let kind = spoilt.as_ref().err().map(Error::kind);
        let outcome = match spoilt {
            Ok(content) => format!("{} of {} bytes", content.bytes.len(), whole.bytes.len()),
            Err(error) => told(error),
        };
        let passing = [ErrorKind::Retry, ErrorKind::RateLimited, ErrorKind::BadAnswer];
        let passes = is_whole || kind.is_some_and(|kind| passing.contains(&kind));
        match fault {
            Fault::Cut => self.ledger.note(31, is_whole || kind.is_some(), &format!("{what}, half a body: {outcome}")),
            Fault::Status { status: 404, .. } => {
                let is_kept = kind == Some(ErrorKind::NotFound);
                self.ledger.note(32, is_kept, &format!("{what}, a 404: {outcome}"));
            }
            Fault::Status { status, .. } => self.ledger.note(32, passes, &format!("{what}, a {status}: {outcome}")),
            _ => {}
        }
    }

    async fn open(
        &self,
        watcher: &Arc<Injector>,
        stream: &Arc<StreamSpec>,
        attachment: &Attachment,
        resume: Option<ResumeAt>,
    ) -> Result<Content> {
        let connector = self.connect(watcher)?;
        let request = AttachmentRequest { stream: Arc::clone(stream), locator: attachment.locator.clone(), resume };
        let whole = async {
            let AttachmentBody { offset_bytes, validator, bytes, .. } = connector.open_attachment(request).await?;
            let bytes = bytes
                .try_fold(Vec::new(), |mut all, piece| async move {
                    all.extend_from_slice(&piece);
                    Ok(all)
                })
                .await?;
            Ok(Content { offset_bytes, validator, bytes })
        };
        let opened = tokio::time::timeout(DEADLINE, whole).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Bug, format!("it did not end within {} s", DEADLINE.as_secs())))
        });
        if let Err(error) = &opened {
            self.secrets_among(&stream.name, &format!("{error} {error:?}"), watcher);
        }
        opened
    }
}

fn identities(reading: &Reading) -> BTreeSet<(String, String)> {
    reading.attachments.iter().map(|named| named.identity.clone()).collect()
}

fn told(error: &Error) -> String {
    format!("{}: {}", error.kind().code(), error.message())
}
