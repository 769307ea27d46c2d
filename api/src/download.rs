//! Exports as answers: written on a thread for blocking work, sent piece by piece as fast as the caller takes them.

use std::io::{self, Write};

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{self, Charset, ContentDisposition, DispositionParam, DispositionType, ExtendedValue},
    },
};
use bytes::Bytes;
use listbackup_engine::{export::ExportSpec, snapshot::SnapshotReader};
use tokio::sync::mpsc;

use crate::{downloads::Place, problem::Problem};

/// Pieces waiting for the caller; each has about 256 KiB.
const PIECES: usize = 2;

/// The export as an attachment, which keeps its place until it ends. Its first piece is waited for, so that what fails before it is told as a problem; what fails
/// later breaks the answer off.
///
/// # Errors
/// Those of the export, before its first piece.
pub async fn attachment(place: Place, reader: SnapshotReader, spec: ExportSpec) -> Result<HttpResponse, Problem> {
    let mut answer = HttpResponseBuilder::new(StatusCode::OK);
    answer.content_type(spec.media_type());
    answer.insert_header((header::CONTENT_DISPOSITION, disposition(spec.file_name(reader.manifest()))));
    let (sender, mut pieces) = mpsc::channel(PIECES);
    actix_web::rt::spawn(async move {
        let out = Pieces { sender: sender.clone() };
        if let Err(error) = spec.write(reader, out).await {
            // A caller who is gone wants to know nothing.
            let _gone = sender.send(Err(error.into())).await;
        }
    });
    let first = pieces.recv().await.transpose()?;
    let body = futures::stream::unfold((first, pieces, place), |(first, mut pieces, place)| async move {
        let piece = match first {
            Some(piece) => Ok(piece),
            None => pieces.recv().await?,
        };
        Some((piece, (None, pieces, place)))
    });
    Ok(answer.streaming::<_, Problem>(body))
}

/// A name in ASCII for old clients, and the name itself.
pub fn disposition(name: String) -> ContentDisposition {
    let ascii: String = name.chars().map(|c| if c.is_ascii() { c } else { '_' }).collect();
    let is_ascii = ascii == name;
    let mut parameters = vec![DispositionParam::Filename(ascii)];
    if !is_ascii {
        let value = name.into_bytes();
        parameters.push(DispositionParam::FilenameExt(ExtendedValue {
            charset: Charset::Ext("UTF-8".to_owned()),
            language_tag: None,
            value,
        }));
    }
    ContentDisposition { disposition: DispositionType::Attachment, parameters }
}

/// Sends what is written, and fails when the caller is gone.
struct Pieces {
    sender: mpsc::Sender<Result<Bytes, Problem>>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !bytes.is_empty() {
            let sent = self.sender.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
            sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.sender.is_closed() { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }
}
