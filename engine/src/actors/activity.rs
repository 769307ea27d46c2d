//! Keeps the relay of events going.

use std::{sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context, Handler, Message, Supervised};

use super::task::Task;
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
}

impl Activity {
    pub fn new(ctx: Arc<RunContext>) -> Self {
        Self { ctx, work: None }
    }

    fn relay(&mut self, ctx: &mut Context<Self>) {
        let run_ctx = self.ctx.clone();
        let work = async move {
            Relay::default().run(&run_ctx.ports, &run_ctx.system).await;
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

impl Supervised for Activity {}

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
