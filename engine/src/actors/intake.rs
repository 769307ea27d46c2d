//! Takes orders from the job queue, only as many as there are free slots.

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Recipient};
use tokio::sync::watch;

use super::{child::End, engine::Deliver, generation::PartWord, task::Task};
use crate::{
    error::Result,
    ports::{self, QueueName},
    run::{RunContext, delivery::Delivery, order::RunOrder},
};

/// Longest wait of one request for messages (the limit of SQS is 20 s).
const WAIT: Duration = Duration::from_secs(10);
/// Wait after the queue could not be reached.
const RETRY: Duration = Duration::from_secs(2);

/// The intake's actor.
pub(super) struct Intake {
    ctx: Arc<RunContext>,
    engine: Recipient<Deliver>,
    draining: watch::Receiver<bool>,
    free: usize,
    poll: Option<Task>,
    _last_word: PartWord,
}

impl Intake {
    pub fn new(
        ctx: Arc<RunContext>,
        engine: Recipient<Deliver>,
        draining: watch::Receiver<bool>,
        free: usize,
        last_word: PartWord,
    ) -> Self {
        Self { ctx, engine, draining, free, poll: None, _last_word: last_word }
    }

    fn poll(&mut self, ctx: &mut Context<Self>) {
        if self.free == 0 || self.poll.is_some() || *self.draining.borrow() {
            return;
        }
        let (queue, visibility, free) = (self.ctx.ports.queue.clone(), self.ctx.settings.message_visibility, self.free);
        let mut draining = self.draining.clone();
        let work = async move {
            tokio::select! {
                biased;
                _ = draining.wait_for(|draining| *draining) => Ok(Vec::new()),
                messages = queue.receive(QueueName::Jobs, free, visibility, WAIT) => messages,
            }
        };
        self.poll = Some(Task::start(work, ctx.address().recipient(), Received));
    }

    fn take(&mut self, message: ports::Message) {
        let (queue, visibility) = (self.ctx.ports.queue.clone(), self.ctx.settings.message_visibility);
        let order = match serde_json::from_value::<RunOrder>(message.body) {
            Ok(order) => order,
            Err(error) => {
                // Left to its fate: it comes again until it is a dead letter that a person can look at.
                tracing::error!(%error, message = message.id, "a message is no order");
                return;
            }
        };
        let delivery = Delivery::guard(queue, QueueName::Jobs, message.receipt, visibility);
        self.free -= 1;
        self.engine.do_send(Deliver { order, delivery: Some(delivery), done: None });
    }
}

impl Actor for Intake {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.poll(ctx);
    }
}

impl Handler<End> for Intake {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// So many orders are over.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct SlotFree(pub usize);

impl Handler<SlotFree> for Intake {
    type Result = ();

    fn handle(&mut self, SlotFree(slots): SlotFree, ctx: &mut Self::Context) {
        // Orders that came another way gave back slots that were never taken.
        self.free = (self.free + slots).min(self.ctx.settings.slots);
        self.poll(ctx);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Received(Result<Vec<ports::Message>>);

impl Handler<Received> for Intake {
    type Result = ();

    fn handle(&mut self, Received(result): Received, ctx: &mut Self::Context) {
        self.poll = None;
        match result {
            Ok(messages) => {
                for message in messages {
                    self.take(message);
                }
                self.poll(ctx);
            }
            Err(error) => {
                tracing::warn!(%error, "the job queue could not be read; trying again");
                ctx.run_later(RETRY, Self::poll);
            }
        }
    }
}
