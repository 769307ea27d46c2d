//! One attempt of a run: plans it, reads a bounded number of streams at a time, concludes.

use std::{collections::HashMap, sync::Arc};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Recipient};

use super::{connector::Connector, job::AttemptEnded, task::Task};
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
    job: Recipient<AttemptEnded>,
    session: Option<Arc<Session>>,
    next_plan: usize,
    reading: HashMap<String, Addr<Connector>>,
    outcomes: Outcomes,
    work: Option<Task>,
    report: Option<Task>,
}

impl Run {
    pub fn new(ctx: Arc<RunContext>, claim: Claim, stop: StopSwitch, job: Recipient<AttemptEnded>) -> Self {
        Self {
            ctx,
            claim,
            stop,
            job,
            session: None,
            next_plan: 0,
            reading: HashMap::new(),
            outcomes: Outcomes::new(),
            work: None,
            report: None,
        }
    }

    /// Fills the free places with the next streams; concludes when nothing is left.
    fn advance(&mut self, ctx: &mut Context<Self>) {
        let Some(session) = self.session.clone() else { return };
        while self.reading.len() < self.ctx.settings.streams_max {
            let Some(plan) = session.plans.get(self.next_plan) else { break };
            self.next_plan += 1;
            let name = plan.spec.name.clone();
            let connector = Connector::new(session.clone(), plan.clone(), ctx.address().recipient()).start();
            self.reading.insert(name, connector);
        }
        if self.reading.is_empty() && self.work.is_none() {
            self.report = None;
            let outcomes = std::mem::take(&mut self.outcomes);
            let work = async move { conclude::conclude(&session, &outcomes).await };
            self.work = Some(Task::start(work, ctx.address().recipient(), Concluded));
        }
    }

    fn report(&mut self, ctx: &mut Context<Self>) {
        let Some(session) = self.session.clone().filter(|_| !self.reading.is_empty()) else { return };
        if self.report.is_some() {
            return;
        }
        let work =
            async move { progress::report(&session.ctx, &session.claim, &session.progress, &session.stop).await };
        self.report = Some(Task::start(work, ctx.address().recipient(), Reported));
    }

    fn end(&mut self, end: Result<AttemptEnd>, ctx: &mut Context<Self>) {
        self.job.do_send(AttemptEnded(end));
        ctx.stop();
    }
}

impl Actor for Run {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (run_ctx, claim, stop) = (self.ctx.clone(), self.claim.clone(), self.stop.clone());
        if claim.run.restore.is_some() {
            let work = Box::pin(restore::carry_out(run_ctx, claim, stop));
            self.work = Some(Task::start(work, ctx.address().recipient(), Concluded));
            return;
        }
        let work = async move { Session::begin(run_ctx, claim, stop).await };
        self.work = Some(Task::start(work, ctx.address().recipient(), Begun));
        ctx.run_interval(self.ctx.settings.progress_every, Self::report);
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

/// The stop switch was thrown. Streams under way see it by themselves; an attempt that is still beginning ends here.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct RunStop;

impl Handler<RunStop> for Run {
    type Result = ();

    fn handle(&mut self, _: RunStop, ctx: &mut Self::Context) {
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
}

/// A stream's end; an error is a panic in its work.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StreamEnded {
    pub stream: String,
    pub outcome: Result<StreamOutcome>,
}

impl Handler<StreamEnded> for Run {
    type Result = ();

    fn handle(&mut self, ended: StreamEnded, ctx: &mut Self::Context) {
        self.reading.remove(&ended.stream);
        self.outcomes.insert(ended.stream, ended.outcome.unwrap_or_else(StreamOutcome::Failed));
        self.advance(ctx);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Reported(Result<()>);

impl Handler<Reported> for Run {
    type Result = ();

    fn handle(&mut self, Reported(result): Reported, _: &mut Self::Context) {
        self.report = None;
        match result {
            Err(error) if error.kind() == ErrorKind::Fenced => self.stop.stop(Stop::Fenced),
            Err(error) => tracing::warn!(%error, "progress was not written"),
            Ok(()) => {}
        }
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
