//! A connector at work for one read of a stream.

use listbackup_connectors::{self as connectors, Page, ReadEnd, ReadRequest};
use tokio::{sync::mpsc, task::JoinHandle};

use super::session::Session;

/// The connector's task; ends with its owner.
pub(super) struct Reader(Option<JoinHandle<connectors::Result<ReadEnd>>>);

impl Reader {
    /// Begins to read.
    pub(super) fn start(session: &Session, request: ReadRequest, pages: mpsc::Sender<Page>) -> Self {
        let connector = session.connector.clone();
        Self(Some(tokio::spawn(async move { connector.read(request, pages).await })))
    }

    /// How the read ended; a panic inside a connector is an error like any other.
    pub(super) async fn end(&mut self) -> connectors::Result<ReadEnd> {
        let Some(task) = self.0.take() else {
            return Err(connectors::Error::new(connectors::ErrorKind::Bug, "the reader was asked twice"));
        };
        task.await.unwrap_or_else(|error| {
            Err(connectors::Error::new(connectors::ErrorKind::Bug, format!("the connector broke off: {error}")))
        })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
