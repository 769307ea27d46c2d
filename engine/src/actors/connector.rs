//! One stream being read.

use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Recipient};

use super::{
    child::{End, LastWord},
    run::StreamEnded,
    task::Task,
};
use crate::{
    error::{Error, ErrorKind, Result},
    run::{
        pipeline::{self, StreamOutcome},
        session::{Session, StreamPlan},
    },
};

/// The actor of one stream of one attempt.
pub(super) struct Connector {
    session: Arc<Session>,
    plan: StreamPlan,
    /// Ends with the actor.
    work: Option<Task>,
    last_word: LastWord<StreamEnded>,
}

impl Connector {
    pub fn new(session: Arc<Session>, plan: StreamPlan, run: Recipient<StreamEnded>) -> Self {
        let broke_off = Error::new(ErrorKind::Bug, "the stream's actor broke off; see the log");
        let ended = StreamEnded { stream: plan.spec.name.clone(), outcome: Err(broke_off) };
        Self { session, plan, work: None, last_word: LastWord::broke_off(run, ended) }
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

impl Handler<End> for Connector {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct ReadEnded(Result<StreamOutcome>);

impl Handler<ReadEnded> for Connector {
    type Result = ();

    fn handle(&mut self, ReadEnded(outcome): ReadEnded, ctx: &mut Self::Context) {
        self.work = None;
        self.last_word.will_be(StreamEnded { stream: self.plan.spec.name.clone(), outcome });
        ctx.stop();
    }
}
