//! Turns snapshot objects into rows to browse, as the data queue tells of them.

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use tokio::sync::watch;

use super::{child::End, generation::PartWord, task::Task};
use crate::{
    error::{Error, ErrorKind, Result},
    ports::{self, QueueName},
    run::{
        RunContext,
        index::{self, Indexed},
    },
};

/// Longest wait of one request for messages.
const WAIT: Duration = Duration::from_secs(10);
/// Indexing one snapshot takes milliseconds; a message comes again soon after a crash.
const VISIBILITY: Duration = Duration::from_secs(30);
/// A snapshot object is durable a moment before its run commits.
const UNCOMMITTED: Duration = Duration::from_secs(2);
/// Wait after a fault.
const RETRY: Duration = Duration::from_secs(10);
/// Messages of one request.
const BATCH: usize = 10;

/// The indexer's actor.
pub(super) struct Indexer {
    ctx: Arc<RunContext>,
    draining: watch::Receiver<bool>,
    work: Option<Task>,
    _last_word: PartWord,
}

impl Indexer {
    pub fn new(ctx: Arc<RunContext>, draining: watch::Receiver<bool>, last_word: PartWord) -> Self {
        Self { ctx, draining, work: None, _last_word: last_word }
    }

    fn poll(&mut self, ctx: &mut Context<Self>) {
        if *self.draining.borrow() {
            return;
        }
        let (run_ctx, mut draining) = (self.ctx.clone(), self.draining.clone());
        let work = async move {
            let messages = tokio::select! {
                biased;
                _ = draining.wait_for(|draining| *draining) => Vec::new(),
                messages = run_ctx.ports.queue.receive(QueueName::Data, BATCH, VISIBILITY, WAIT) => messages?,
            };
            for message in messages {
                work_off(&run_ctx, message).await?;
            }
            Ok(())
        };
        self.work = Some(Task::start(work, ctx.address().recipient(), Polled));
    }
}

/// Indexes one object. A message that cannot be worked off comes again until it is a dead letter.
async fn work_off(ctx: &RunContext, message: ports::Message) -> Result<()> {
    let queue = &ctx.ports.queue;
    let created = serde_json::from_value(message.body.clone())
        .map_err(|error| Error::new(ErrorKind::Invalid, format!("the message tells of no object: {error}")));
    let indexed = match created {
        Ok(created) => index::index_object(ctx, &created).await,
        Err(error) => Err(error),
    };
    match indexed {
        Ok(Indexed::Rows(_) | Indexed::Never) => queue.acknowledge(QueueName::Data, &message.receipt).await,
        // A run may take long to be taken up after a crash: a fresh message waits for it without becoming a dead letter.
        Ok(Indexed::NotYet) => {
            queue.send(QueueName::Data, vec![message.body], UNCOMMITTED).await?;
            queue.acknowledge(QueueName::Data, &message.receipt).await
        }
        Err(error) => {
            tracing::warn!(%error, message = message.id, "an object could not be indexed");
            queue.extend(QueueName::Data, &message.receipt, RETRY).await
        }
    }
}

impl Actor for Indexer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.poll(ctx);
    }
}

impl Handler<End> for Indexer {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Polled(Result<()>);

impl Handler<Polled> for Indexer {
    type Result = ();

    fn handle(&mut self, Polled(result): Polled, ctx: &mut Self::Context) {
        self.work = None;
        match result {
            Ok(()) => self.poll(ctx),
            Err(error) => {
                tracing::warn!(%error, "the data queue could not be worked off; trying again");
                ctx.run_later(RETRY, Self::poll);
            }
        }
    }
}
