//! Hands on the events that a crash, or a bus that was down, kept from the bus.

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};

use super::{child::End, generation::PartWord, task::Task};
use crate::{
    error::Result,
    run::{RunContext, event},
};

/// How often the outbox is looked through.
const EVERY: Duration = Duration::from_secs(5);

/// The activity relay's actor.
pub(super) struct Activity {
    ctx: Arc<RunContext>,
    work: Option<Task>,
    _last_word: PartWord,
}

impl Activity {
    pub fn new(ctx: Arc<RunContext>, last_word: PartWord) -> Self {
        Self { ctx, work: None, _last_word: last_word }
    }

    fn relay(&mut self, ctx: &mut Context<Self>) {
        if self.work.is_some() {
            return;
        }
        let run_ctx = self.ctx.clone();
        let work = async move { event::relay(&run_ctx.ports, &run_ctx.system).await };
        self.work = Some(Task::start(work, ctx.address().recipient(), Relayed));
    }
}

impl Actor for Activity {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(EVERY, Self::relay);
    }
}

impl Handler<End> for Activity {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Relayed(Result<usize>);

impl Handler<Relayed> for Activity {
    type Result = ();

    fn handle(&mut self, Relayed(result): Relayed, _: &mut Self::Context) {
        self.work = None;
        match result {
            Ok(0) => {}
            Ok(events) => tracing::info!(events, "events published late"),
            Err(error) => tracing::warn!(%error, "kept events could not be published; trying again"),
        }
    }
}
