//! One stream being read.

use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Recipient};

use super::{run::StreamEnded, task::Task};
use crate::{
    error::Result,
    run::{
        pipeline::{self, StreamOutcome},
        session::{Session, StreamPlan},
    },
};

/// The actor of one stream of one attempt.
pub(super) struct Connector {
    session: Arc<Session>,
    plan: StreamPlan,
    run: Recipient<StreamEnded>,
    /// Ends with the actor.
    work: Option<Task>,
}

impl Connector {
    pub fn new(session: Arc<Session>, plan: StreamPlan, run: Recipient<StreamEnded>) -> Self {
        Self { session, plan, run, work: None }
    }
}

impl Actor for Connector {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (session, plan) = (self.session.clone(), self.plan.clone());
        let work = async move { Ok(pipeline::read_stream(&session, &plan).await) };
        self.work = Some(Task::start(work, ctx.address().recipient(), ReadEnded));
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct ReadEnded(Result<StreamOutcome>);

impl Handler<ReadEnded> for Connector {
    type Result = ();

    fn handle(&mut self, ReadEnded(outcome): ReadEnded, ctx: &mut Self::Context) {
        self.work = None;
        self.run.do_send(StreamEnded { stream: self.plan.spec.name.clone(), outcome });
        ctx.stop();
    }
}
