//! `StreamGroup`: streams that the product does not bear being read at the same time.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

use super::load::{Take, View};
use crate::{Error, ErrorKind, Page, PageProgress, Result};

/// While another stream is read, whoever waits for pages is told this often that we are still there.
const TOLD_EVERY: Duration = Duration::from_secs(120);

/// The names of each group's streams.
#[derive(Debug, Default)]
pub(crate) struct Groups(Vec<BTreeSet<String>>);

/// Whose turn it is in each group.
#[derive(Debug)]
pub(crate) struct Turns(Vec<(BTreeSet<String>, Arc<Mutex<()>>)>);

impl Groups {
    /// Reads the mapping called `stream_groups`.
    pub(crate) fn load(source: &View<'_>) -> Take<Self> {
        let groups: Vec<_> = source.named_children("stream_groups").iter().map(|(_, view)| group(view)).collect();
        groups.into_iter().collect::<Take<_>>().map(Self)
    }

    /// The turns of one connector.
    pub(crate) fn turns(&self) -> Turns {
        Turns(self.0.iter().map(|names| (names.clone(), Arc::default())).collect())
    }
}

fn group(view: &View<'_>) -> Take<BTreeSet<String>> {
    if view.kind() != "StreamGroup" {
        return Err(view.unsupported("stream group"));
    }
    let action = view.required_child("action")?;
    if action.kind() != "BlockSimultaneousSyncsAction" {
        return Err(action.unsupported("action of a stream group"));
    }
    view.children("streams").iter().map(|stream| stream.required_text("name")).collect()
}

impl Turns {
    /// Waits until no other stream of a group of `name` is read; it is the stream's turn as long as the answer lives.
    ///
    /// # Errors
    /// `Cancelled` when the reader of the pages goes away.
    pub(crate) async fn wait(&self, name: &str, pages: &mpsc::Sender<Page>) -> Result<Vec<OwnedMutexGuard<()>>> {
        let mut turns = Vec::new();
        // Always in the same order, so that two streams never wait for each other.
        for (_, turn) in self.0.iter().filter(|(names, _)| names.contains(name)) {
            loop {
                match tokio::time::timeout(TOLD_EVERY, Arc::clone(turn).lock_owned()).await {
                    Ok(taken) => {
                        turns.push(taken);
                        break;
                    }
                    Err(_) => still_here(pages).await?,
                }
            }
        }
        Ok(turns)
    }
}

/// An empty page: nothing has been read, and nothing is wrong.
async fn still_here(pages: &mpsc::Sender<Page>) -> Result<()> {
    let page = Page {
        body: bytes::Bytes::new(),
        records: Vec::new(),
        attachments: Vec::new(),
        position: None,
        progress: PageProgress::default(),
    };
    pages.send(page).await.map_err(|_| Error::new(ErrorKind::Cancelled, "the reader of the pages went away"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::load::Loader;

    const TEXT: &str = "
stream_groups:
  heavy:
    type: StreamGroup
    streams: [{ type: DeclarativeStream, name: a }, { type: DeclarativeStream, name: b }]
    action: { type: BlockSimultaneousSyncsAction }
";

    #[tokio::test(start_paused = true)]
    async fn streams_of_a_group_take_turns_and_say_that_they_wait() {
        let (loader, root) = Loader::read("m.yaml", TEXT).unwrap();
        let turns = Groups::load(&loader.root(&root)).unwrap().turns();
        let (to, mut from) = mpsc::channel(8);
        let first = turns.wait("a", &to).await.unwrap();
        assert_eq!(first.len(), 1);
        assert!(turns.wait("other", &to).await.unwrap().is_empty());
        let waited = tokio::time::timeout(Duration::from_secs(300), turns.wait("b", &to)).await;
        assert!(waited.is_err(), "it is not b's turn");
        assert_eq!((from.try_recv().is_ok(), from.try_recv().is_ok(), from.try_recv().is_ok()), (true, true, false));
        drop(first);
        assert_eq!(turns.wait("b", &to).await.unwrap().len(), 1);
    }
}
