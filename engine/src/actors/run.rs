//! One attempt of a run: plans it, reads a bounded number of streams at a time, concludes.

use std::{collections::BTreeMap, sync::Arc};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message};

use super::{
    child::{Child, End, LastWord},
    connector::Connector,
    job::AttemptEnded,
    task::Task,
};
use crate::{
    error::{ErrorKind, Result},
    run::{
        RunContext,
        claim::Claim,
        commit::Outcomes,
        conclude::{self, AttemptEnd},
        pipeline::StreamOutcome,
        progress, restore,
        session::Session,
        stop::{Stop, StopSwitch},
    },
};

/// The actor of one attempt.
pub(super) struct Run {
    ctx: Arc<RunContext>,
    claim: Claim,
    stop: StopSwitch,
    session: Option<Arc<Session>>,
    next_plan: usize,
    reading: BTreeMap<String, Child<Connector>>,
    outcomes: Outcomes,
    work: Option<Task>,
    report: Option<Task>,
    attempt: u32,
    last_word: LastWord<AttemptEnded>,
}

impl Run {
    pub fn new(
        ctx: Arc<RunContext>,
        claim: Claim,
        stop: StopSwitch,
        attempt: u32,
        last_word: LastWord<AttemptEnded>,
    ) -> Self {
        Self {
            ctx,
            claim,
            stop,
            session: None,
            next_plan: 0,
            reading: BTreeMap::new(),
            outcomes: Outcomes::new(),
            work: None,
            report: None,
            attempt,
            last_word,
        }
    }

    /// Fills the free places with the next streams; concludes when nothing is left.
    fn advance(&mut self, ctx: &mut Context<Self>) {
        let Some(session) = self.session.clone() else { return };
        while self.reading.len() < self.ctx.settings.streams_max {
            let Some(plan) = session.plans.get(self.next_plan) else { break };
            self.next_plan += 1;
            let name = plan.spec.name.clone();
            let connector = Connector::new(session.clone(), plan.clone(), ctx.address().recipient());
            self.reading.insert(name, Child::start(connector));
        }
        if self.reading.is_empty() && self.work.is_none() {
            self.report = None;
            let outcomes = std::mem::take(&mut self.outcomes);
            let work = async move { conclude::conclude(&session, &outcomes).await };
            self.work = Some(Task::start(work, ctx.address().recipient(), Concluded));
        }
    }

    /// Once a moment: ends an attempt that is stuck, tells how far it is, and looks for a wish to cancel.
    fn report(&mut self, ctx: &mut Context<Self>) {
        if let Err(stuck) = self.claim.pulse.check(self.ctx.settings.stuck_after) {
            return self.end(Err(stuck), ctx);
        }
        // A restore reports by itself.
        if self.report.is_some() || self.claim.run.restore.is_some() {
            return;
        }
        let session = self.session.clone().filter(|_| !self.reading.is_empty());
        let (run_ctx, claim, stop) = (self.ctx.clone(), self.claim.clone(), self.stop.clone());
        let work = async move {
            match session {
                Some(session) => progress::report(&run_ctx, &claim, &session.progress, &stop).await,
                None => progress::look(&run_ctx, &claim, &stop).await,
            }
        };
        self.report = Some(Task::start(work, ctx.address().recipient(), Reported));
    }

    /// Streams under way see by themselves that they must stop; an attempt that is still beginning ends here.
    fn stop_beginning(&mut self, ctx: &mut Context<Self>) {
        // A restore watches the switch itself, from its beginning to its end.
        if self.session.is_some() || self.claim.run.restore.is_some() {
            return;
        }
        if let Some(stop) = self.stop.reason() {
            let (run_ctx, claim) = (self.ctx.clone(), self.claim.clone());
            let work = async move { conclude::stop_run(&run_ctx, &claim, stop, None).await };
            self.work = Some(Task::start(work, ctx.address().recipient(), Concluded));
        }
    }

    fn end(&mut self, end: Result<AttemptEnd>, ctx: &mut Context<Self>) {
        self.last_word.will_be(AttemptEnded { attempt: self.attempt, end });
        ctx.stop();
    }
}

impl Actor for Run {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (run_ctx, claim, stop) = (self.ctx.clone(), self.claim.clone(), self.stop.clone());
        ctx.run_interval(self.ctx.settings.progress_every, Self::report);
        if claim.run.restore.is_some() {
            let work = Box::pin(restore::carry_out(run_ctx, claim, stop));
            self.work = Some(Task::start(work, ctx.address().recipient(), Concluded));
            return;
        }
        let work = async move { Session::begin(run_ctx, claim, stop).await };
        self.work = Some(Task::start(work, ctx.address().recipient(), Begun));
    }
}

impl Handler<End> for Run {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Begun(Result<Session>);

impl Handler<Begun> for Run {
    type Result = ();

    fn handle(&mut self, Begun(session): Begun, ctx: &mut Self::Context) {
        self.work = None;
        match session {
            Ok(session) => {
                self.session = Some(Arc::new(session));
                self.advance(ctx);
            }
            Err(error) => self.end(Err(error), ctx),
        }
    }
}

/// The stop switch was thrown.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct RunStop;

impl Handler<RunStop> for Run {
    type Result = ();

    fn handle(&mut self, _: RunStop, ctx: &mut Self::Context) {
        self.stop_beginning(ctx);
    }
}

/// A stream's end; an error is a panic in its work, or in its actor.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StreamEnded {
    pub stream: String,
    pub outcome: Result<StreamOutcome>,
}

impl Handler<StreamEnded> for Run {
    type Result = ();

    fn handle(&mut self, ended: StreamEnded, ctx: &mut Self::Context) {
        if self.reading.remove(&ended.stream).is_none() {
            return;
        }
        self.outcomes.insert(ended.stream, ended.outcome.unwrap_or_else(StreamOutcome::Failed));
        self.advance(ctx);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Reported(Result<()>);

impl Handler<Reported> for Run {
    type Result = ();

    fn handle(&mut self, Reported(result): Reported, ctx: &mut Self::Context) {
        self.report = None;
        match result {
            Err(error) if error.kind() == ErrorKind::Fenced => self.stop.stop(Stop::Fenced),
            Err(error) => tracing::warn!(%error, "progress was not written"),
            Ok(()) => {}
        }
        self.stop_beginning(ctx);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Concluded(Result<AttemptEnd>);

impl Handler<Concluded> for Run {
    type Result = ();

    fn handle(&mut self, Concluded(end): Concluded, ctx: &mut Self::Context) {
        self.end(end, ctx);
    }
}
