//! A file of JSON lines as a product with one stream. For commands of the person who owns the file only: it is in no
//! registry, so that nobody can have a server read its own files.

use std::{collections::VecDeque, path::PathBuf, sync::Arc, time::UNIX_EPOCH};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::{fs::File, io::AsyncReadExt, sync::mpsc};

use crate::{
    Catalog, Connector, Deletions, Error, ErrorKind, Integration, Link, Page, PageProgress, Problem, ReadEnd,
    ReadRequest, Result, SignIn, Spec, StreamSpec,
    manifest::extract::{self, Plan},
};

/// A page takes about so many bytes of the file.
const PAGE_BYTES: usize = 1 << 20;
/// Read at a time, at least; a page takes so much more at most, unless a line is longer.
const READ_BYTES: usize = 64 << 10;
/// Pages under way whose memory comes back: as many as wait for the writer, the one in its hands, and the one being read.
const LENT_MAX: usize = 6;
/// The longest line.
const LINE_BYTES_MAX: usize = 256 << 20;

/// The integration.
pub struct JsonLines(Spec);

/// Which file, and what is in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JsonLinesSettings {
    /// The file.
    pub path: PathBuf,
    /// Name of the stream that its records make.
    pub stream: String,
    /// Fields that make a record's key; without any its digest does.
    pub primary_key: Vec<String>,
}

/// The file, to be read.
struct JsonLinesFile(JsonLinesSettings);

/// Where a read stands, and in which file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Position {
    offset: u64,
    line: u64,
    size_bytes: u64,
    modified_ms: u64,
}

impl JsonLines {
    /// The integration's name.
    pub const NAME: &'static str = "json-lines";
}

impl Default for JsonLines {
    fn default() -> Self {
        let field = |kind: &str| json!({ "type": kind });
        let settings_schema = json!({
            "type": "object",
            "required": ["path", "stream", "primary_key"],
            "properties": { "path": field("string"), "stream": field("string"), "primary_key": field("array") },
        });
        Self(Spec {
            name: Self::NAME.to_owned(),
            title: "JSON lines".to_owned(),
            description: "A file with one JSON object a line, such as an export.".to_owned(),
            settings_schema,
            sign_in: SignIn::None,
        })
    }
}

impl Integration for JsonLines {
    fn spec(&self) -> &Spec {
        &self.0
    }

    fn connect(&self, link: Link) -> Result<Arc<dyn Connector>> {
        let settings = serde_json::from_value(link.settings.expose().clone()).map_err(|error| {
            let problem = Problem { place: "/".to_owned(), message: error.to_string() };
            Error::invalid("the settings of a file of JSON lines are wrong", vec![problem])
        })?;
        Ok(Arc::new(JsonLinesFile(settings)))
    }
}

#[async_trait]
impl Connector for JsonLinesFile {
    async fn check(&self) -> Result<()> {
        self.open(None).await.map(drop)
    }

    async fn discover(&self) -> Result<Catalog> {
        let stream = StreamSpec {
            name: self.0.stream.clone(),
            primary_key: self.key(),
            cursor_field: Vec::new(),
            json_schema: json!({ "type": "object", "additionalProperties": true }),
            parents: Vec::new(),
            deletions: Deletions::Absence,
            write: None,
        };
        Ok(Catalog { streams: vec![stream] })
    }

    async fn read(&self, request: ReadRequest, pages: mpsc::Sender<Page>) -> Result<ReadEnd> {
        let (mut file, mut position) = self.open(request.position).await?;
        let plan = Plan { key: self.key(), ..Plan::default() };
        let (mut pool, mut rest) = (Pool::default(), Bytes::new());
        loop {
            let mut buffer = pool.buffer(&rest);
            let Some(len) = self.fill(&mut file, &mut buffer).await? else { break };
            let whole = buffer.freeze();
            let body = whole.slice(..len);
            rest = whole.slice(len..);
            pool.lend(whole);
            let text = std::str::from_utf8(&body)
                .map_err(|error| self.wrong(&position, &body[..error.valid_up_to()], "the text is not UTF-8 here"))?;
            let found =
                extract::lines(text, &plan).map_err(|error| self.wrong(&position, &body[..error.at], error.reason))?;
            position.offset += body.len() as u64;
            position.line += memchr::memchr_iter(b'\n', &body).count() as u64;
            let page = Page {
                records: found.into_iter().map(|found| found.slice).collect(),
                attachments: Vec::new(),
                position: serde_json::to_value(&position).ok(),
                progress: PageProgress { bytes_received: body.len() as u64, ..PageProgress::default() },
                body,
            };
            let gone = |_| Error::new(ErrorKind::Cancelled, "the reader of the pages went away");
            pages.send(page).await.map_err(gone)?;
        }
        Ok(ReadEnd { is_full: true, ..ReadEnd::default() })
    }
}

/// Memory of pages that went out, used again when nobody holds them any more.
#[derive(Default)]
struct Pool(VecDeque<Bytes>);

impl Pool {
    /// A buffer that begins with `rest`.
    fn buffer(&mut self, rest: &[u8]) -> BytesMut {
        let free = self.0.pop_front().and_then(|oldest| match oldest.try_into_mut() {
            Ok(buffer) => Some(buffer),
            Err(oldest) => {
                self.0.push_front(oldest);
                None
            }
        });
        let mut buffer = free.unwrap_or_else(|| BytesMut::with_capacity(PAGE_BYTES + READ_BYTES));
        buffer.clear();
        buffer.extend_from_slice(rest);
        buffer
    }

    fn lend(&mut self, page: Bytes) {
        if self.0.len() == LENT_MAX {
            self.0.pop_front();
        }
        self.0.push_back(page);
    }
}

impl JsonLinesFile {
    fn key(&self) -> Vec<Vec<String>> {
        self.0.primary_key.iter().map(|field| vec![field.clone()]).collect()
    }

    /// The file at the place where an interrupted read stopped, or at its beginning.
    async fn open(&self, position: Option<serde_json::Value>) -> Result<(File, Position)> {
        let mut file = File::open(&self.0.path).await.map_err(|error| self.unreadable(&error))?;
        let metadata = file.metadata().await.map_err(|error| self.unreadable(&error))?;
        let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let now = Position {
            offset: 0,
            line: 1,
            size_bytes: metadata.len(),
            modified_ms: modified.unwrap_or_default().as_millis() as u64,
        };
        let Some(position) = position else { return Ok((file, now)) };
        let saved = serde_json::from_value::<Position>(position).ok();
        let saved = saved.filter(|saved| {
            (saved.size_bytes, saved.modified_ms) == (now.size_bytes, now.modified_ms) && saved.offset <= now.size_bytes
        });
        let saved = saved.ok_or_else(|| {
            let message = "the file is not the one that the interrupted import began with; import it again";
            Error::new(ErrorKind::Invalid, message).with("file", self.path())
        })?;
        let start = std::io::SeekFrom::Start(saved.offset);
        tokio::io::AsyncSeekExt::seek(&mut file, start).await.map_err(|error| self.unreadable(&error))?;
        Ok((file, saved))
    }

    /// Reads until the buffer holds a page of whole lines; their length, or `None` at the end of the file.
    async fn fill(&self, file: &mut File, buffer: &mut BytesMut) -> Result<Option<usize>> {
        loop {
            if buffer.len() >= PAGE_BYTES
                && let Some(end) = memchr::memrchr(b'\n', buffer)
            {
                return Ok(Some(end + 1));
            }
            if buffer.len() > LINE_BYTES_MAX {
                let message = format!("a line takes more than {LINE_BYTES_MAX} bytes");
                return Err(Error::new(ErrorKind::Invalid, message).with("file", self.path()));
            }
            if buffer.capacity() - buffer.len() < READ_BYTES {
                buffer.reserve(PAGE_BYTES);
            }
            if file.read_buf(buffer).await.map_err(|error| self.unreadable(&error))? == 0 {
                return Ok((!buffer.is_empty()).then_some(buffer.len()));
            }
        }
    }

    fn path(&self) -> String {
        self.0.path.display().to_string()
    }

    fn unreadable(&self, error: &std::io::Error) -> Error {
        Error::new(ErrorKind::Invalid, format!("the file cannot be read: {error}")).with("file", self.path())
    }

    /// What is wrong after `before`, the sound part of the page that begins at `position`.
    fn wrong(&self, position: &Position, before: &[u8], reason: &str) -> Error {
        let line = position.line + memchr::memchr_iter(b'\n', before).count() as u64;
        let message = format!("{}:{line} is not one JSON object: {reason}", self.path());
        Error::new(ErrorKind::Invalid, message)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn file_at(path: &Path) -> JsonLinesFile {
        JsonLinesFile(JsonLinesSettings { path: path.to_owned(), stream: "a".into(), primary_key: vec!["id".into()] })
    }

    async fn read(file: &JsonLinesFile, position: Option<serde_json::Value>) -> Result<Vec<Page>> {
        let stream = Arc::new(file.discover().await?.streams.remove(0));
        let (to, mut from) = mpsc::channel(100);
        let end = file.read(ReadRequest { stream, state: None, position }, to).await?;
        assert!(end.is_full);
        let mut pages = Vec::new();
        while let Some(page) = from.recv().await {
            pages.push(page);
        }
        Ok(pages)
    }

    fn bodies(pages: &[Page]) -> Vec<Vec<u8>> {
        let of = |page: &Page| page.records.iter().map(|record| page.record_body(record).to_vec()).collect::<Vec<_>>();
        pages.iter().flat_map(of).collect()
    }

    #[tokio::test]
    async fn every_position_leads_to_the_rest_and_none_into_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        let text: String = (0..60_000).map(|id| format!("{{\"id\":{id},\"text\":\"{:050}\"}}\n", id)).collect();
        std::fs::write(&path, &text).unwrap();
        let file = file_at(&path);
        let pages = read(&file, None).await.unwrap();
        assert!(pages.len() > 2, "{} pages", pages.len());
        let all = bodies(&pages);
        assert_eq!(all.len(), 60_000);
        for (index, page) in pages.iter().enumerate() {
            let rest = read(&file, page.position.clone()).await.unwrap();
            assert_eq!([bodies(&pages[..=index]), bodies(&rest)].concat(), all, "after page {index}");
        }
        std::fs::write(&path, text + "{}\n").unwrap();
        let error = read(&file, pages[0].position.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
}
