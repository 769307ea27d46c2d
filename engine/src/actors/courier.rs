//! Sends events to webhooks as they are due. Looks go on beside each other, so that one that waits for a slow receiver holds up no other.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use tokio::sync::watch;

use super::{child::End, generation::PartWord, task::Task};
use crate::{
    error::Result,
    run::{
        RunContext,
        deliveries::{Courier as Sender, Sent},
    },
};

/// How often it is looked what is due.
const EVERY: Duration = Duration::from_secs(5);
/// Looks at the same time.
const LOOKS_MAX: usize = 8;

/// The actor of the courier.
pub(super) struct Courier {
    ctx: Arc<RunContext>,
    draining: watch::Receiver<bool>,
    sender: Option<Arc<Sender>>,
    /// Looks under way, by their numbers.
    looks: BTreeMap<u64, Task>,
    number: u64,
    _last_word: PartWord,
}

impl Courier {
    pub fn new(ctx: Arc<RunContext>, draining: watch::Receiver<bool>, last_word: PartWord) -> Self {
        let sender = Sender::new(&ctx).map(Arc::new);
        if let Err(error) = &sender {
            tracing::error!(%error, "events cannot be sent to webhooks");
        }
        Self { ctx, draining, sender: sender.ok(), looks: BTreeMap::new(), number: 0, _last_word: last_word }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let Some(sender) = self.sender.clone() else { return };
        if self.looks.len() >= LOOKS_MAX || *self.draining.borrow() {
            return;
        }
        self.number += 1;
        let (run_ctx, number) = (self.ctx.clone(), self.number);
        let work = async move { sender.look(&run_ctx).await };
        let task = Task::start(work, ctx.address().recipient(), move |result| Looked { number, result });
        self.looks.insert(number, task);
    }
}

impl Actor for Courier {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(EVERY, Self::look);
    }
}

impl Handler<End> for Courier {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Looked {
    number: u64,
    result: Result<Sent>,
}

impl Handler<Looked> for Courier {
    type Result = ();

    fn handle(&mut self, Looked { number, result }: Looked, ctx: &mut Self::Context) {
        self.looks.remove(&number);
        match result {
            Ok(sent) if sent.has_more => self.look(ctx),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "due deliveries could not be sent; trying again"),
        }
    }
}
