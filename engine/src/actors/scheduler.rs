//! The clock of the worker: fires due jobs and sends the messages of lost orders again.

use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use tokio::sync::watch;

use super::{child::End, generation::PartWord, task::Task};
use crate::{
    error::Result,
    run::{RunContext, due, order},
};

/// The scheduler's actor.
pub(super) struct Scheduler {
    ctx: Arc<RunContext>,
    draining: watch::Receiver<bool>,
    look: Option<Task>,
    is_first: bool,
    _last_word: PartWord,
}

impl Scheduler {
    pub fn new(ctx: Arc<RunContext>, draining: watch::Receiver<bool>, is_first: bool, last_word: PartWord) -> Self {
        Self { ctx, draining, look: None, is_first, _last_word: last_word }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.look.is_some() || *self.draining.borrow() {
            return;
        }
        // At the start of a sole worker nobody else can be looking after any run: all live ones are lost.
        let takes_all = std::mem::take(&mut self.is_first) && self.ctx.settings.is_sole_worker;
        let run_ctx = self.ctx.clone();
        let work = async move { look(&run_ctx, takes_all).await };
        self.look = Some(Task::start(work, ctx.address().recipient(), Looked));
    }
}

/// Returns true when there is more to do at once.
async fn look(ctx: &RunContext, takes_all: bool) -> Result<bool> {
    let before = if takes_all { jiff::Timestamp::MAX } else { ctx.ports.clock.now() };
    let sent = order::resend_lost(&ctx.ports, &ctx.system, before).await?;
    let ordered = due::fire_due(&ctx.ports, &ctx.system, &ctx.settings.plans).await?;
    if sent + ordered.runs > 0 {
        tracing::info!(sent, fired = ordered.runs, "orders sent again, jobs fired");
    }
    Ok(ordered.has_more)
}

impl Actor for Scheduler {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
        ctx.run_interval(self.ctx.settings.tick, Self::look);
    }
}

impl Handler<End> for Scheduler {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Looked(Result<bool>);

impl Handler<Looked> for Scheduler {
    type Result = ();

    fn handle(&mut self, Looked(result): Looked, ctx: &mut Self::Context) {
        self.look = None;
        match result {
            Ok(true) => self.look(ctx),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "due jobs could not be looked up; trying again"),
        }
    }
}
