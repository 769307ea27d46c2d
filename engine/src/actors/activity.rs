//! Keeps the relay of events going.

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};

use super::{child::End, generation::PartWord, task::Task};
use crate::{
    error::Result,
    run::{RunContext, relay::Relay},
};

/// How long after a relay broke off the next one begins.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

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
        let run_ctx = self.ctx.clone();
        let work = async move {
            Relay::ringing(run_ctx.bell.clone()).run(&run_ctx.ports, &run_ctx.system).await;
            Ok(())
        };
        self.work = Some(Task::start(work, ctx.address().recipient(), BrokeOff));
    }
}

impl Actor for Activity {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.relay(ctx);
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
struct BrokeOff(Result<()>);

impl Handler<BrokeOff> for Activity {
    type Result = ();

    fn handle(&mut self, BrokeOff(how): BrokeOff, ctx: &mut Self::Context) {
        self.work = None;
        if let Err(error) = how {
            tracing::error!(%error, "the relay of events broke off; it begins again");
        }
        ctx.run_later(AGAIN_AFTER, Self::relay);
    }
}
