//! Looks after stored snapshots, source by source, as their time comes, and carries out the end of accounts whose time has come.

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use tokio::sync::watch;

use super::{child::End, generation::PartWord, task::Task};
use crate::{
    error::Result,
    run::{RunContext, ending, upkeep},
};

/// How often it is looked which sources are due.
const EVERY: Duration = Duration::from_secs(60);

/// The actor of upkeep.
pub(super) struct Upkeep {
    ctx: Arc<RunContext>,
    draining: watch::Receiver<bool>,
    work: Option<Task>,
    _last_word: PartWord,
}

impl Upkeep {
    pub fn new(ctx: Arc<RunContext>, draining: watch::Receiver<bool>, last_word: PartWord) -> Self {
        Self { ctx, draining, work: None, _last_word: last_word }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.work.is_some() || *self.draining.borrow() {
            return;
        }
        let run_ctx = self.ctx.clone();
        let work = async move {
            let looked_after = upkeep::look_after_due(&run_ctx).await?;
            Ok(looked_after + ending::end_due(&run_ctx).await?)
        };
        self.work = Some(Task::start(work, ctx.address().recipient(), Looked));
    }
}

impl Actor for Upkeep {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(EVERY, Self::look);
    }
}

impl Handler<End> for Upkeep {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Looked(Result<usize>);

impl Handler<Looked> for Upkeep {
    type Result = ();

    fn handle(&mut self, Looked(result): Looked, _: &mut Self::Context) {
        self.work = None;
        if let Err(error) = result {
            tracing::warn!(%error, "what is to be looked after could not be looked up; trying again");
        }
    }
}
