//! Looks how fresh sources are as their time comes, and shows in the metrics how many are stale.

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};
use tokio::sync::watch;

use super::{child::End, generation::PartWord, task::Task};
use crate::{
    error::Result,
    run::{RunContext, freshness::Gaps, watch as run_watch},
};

/// How often it is looked which sources are due.
const EVERY: Duration = Duration::from_secs(10);
/// Every so many looks the stale sources are counted.
const COUNTED_EVERY: u32 = 6;

/// The actor of the watch.
pub(super) struct Watch {
    ctx: Arc<RunContext>,
    draining: watch::Receiver<bool>,
    /// What it remembers between looks; away while one is under way.
    gaps: Gaps,
    looks: u32,
    work: Option<Task>,
    _last_word: PartWord,
}

impl Watch {
    pub fn new(ctx: Arc<RunContext>, draining: watch::Receiver<bool>, last_word: PartWord) -> Self {
        Self { ctx, draining, gaps: Gaps::default(), looks: 0, work: None, _last_word: last_word }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.work.is_some() || *self.draining.borrow() {
            return;
        }
        let counts = self.looks.is_multiple_of(COUNTED_EVERY);
        self.looks = self.looks.wrapping_add(1);
        let (run_ctx, mut gaps) = (self.ctx.clone(), std::mem::take(&mut self.gaps));
        let work = async move {
            run_watch::look(&run_ctx, &mut gaps).await?;
            if counts {
                run_watch::show_stale(&run_ctx).await?;
            }
            Ok(gaps)
        };
        self.work = Some(Task::start(work, ctx.address().recipient(), Looked));
    }
}

impl Actor for Watch {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(EVERY, Self::look);
    }
}

impl Handler<End> for Watch {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Looked(Result<Gaps>);

impl Handler<Looked> for Watch {
    type Result = ();

    fn handle(&mut self, Looked(result): Looked, _: &mut Self::Context) {
        self.work = None;
        match result {
            Ok(gaps) => self.gaps = gaps,
            Err(error) => tracing::warn!(%error, "it could not be looked how fresh sources are; trying again"),
        }
    }
}
