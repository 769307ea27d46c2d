//! One claimed run: builds an attempt, watches it, waits and builds the next one, and ends the run when no attempt can
//! help.

use std::sync::Arc;

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Recipient};

use super::{
    run::{Run, RunStop},
    source::JobEnded,
    task::Task,
};
use crate::{
    error::{Error, Result},
    model,
    run::{
        RunContext,
        claim::Claim,
        conclude::{self, AttemptEnd, Verdict},
        stop::{Stop, StopSwitch},
    },
};

/// The actor of one claimed run.
pub(super) struct Job {
    ctx: Arc<RunContext>,
    claim: Claim,
    source: Recipient<JobEnded>,
    attempt: u32,
    stop: StopSwitch,
    run: Option<Addr<Run>>,
    /// Ends with the actor.
    work: Option<Task>,
}

impl Job {
    pub fn new(ctx: Arc<RunContext>, claim: Claim, source: Recipient<JobEnded>) -> Self {
        Self { ctx, claim, source, attempt: 0, stop: StopSwitch::new(), run: None, work: None }
    }

    fn try_once(&mut self, ctx: &mut Context<Self>) {
        if let Some(stop) = self.stop.reason() {
            let (run_ctx, claim) = (self.ctx.clone(), self.claim.clone());
            let work = async move { conclude::stop_run(&run_ctx, &claim, stop, None).await };
            self.work = Some(Task::start(work, ctx.address().recipient(), AttemptEnded));
            return;
        }
        self.attempt += 1;
        let (run_ctx, claim) = (self.ctx.clone(), self.claim.clone());
        let work = async move { conclude::refreshed(&run_ctx, &claim).await };
        self.work = Some(Task::start(work, ctx.address().recipient(), Refreshed));
    }

    fn after_error(&mut self, error: Error, ctx: &mut Context<Self>) {
        match conclude::judge(&error, self.attempt, &self.ctx.settings) {
            Verdict::TryAgain(wait) => {
                tracing::warn!(%error, run = %self.claim.order.run_id, ?wait, "an attempt failed; trying again");
                ctx.run_later(wait, Self::try_once);
            }
            Verdict::LetGo => self.end(Err(error), false, ctx),
            Verdict::Fail => {
                tracing::error!(%error, run = %self.claim.order.run_id, "the run has failed");
                let (run_ctx, claim) = (self.ctx.clone(), self.claim.clone());
                let work = async move {
                    // Where the failure itself cannot be written, the first error is what people need to see.
                    conclude::fail(&run_ctx, &claim, &error, None).await.map_err(|unwritten| {
                        tracing::error!(error = %unwritten, "the failure could not be written");
                        error
                    })
                };
                self.work = Some(Task::start(work, ctx.address().recipient(), Failed));
            }
        }
    }

    fn end(&mut self, result: Result<model::Run>, is_settled: bool, ctx: &mut Context<Self>) {
        self.source.do_send(JobEnded { result, is_settled });
        ctx.stop();
    }
}

impl Actor for Job {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.try_once(ctx);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Refreshed(Result<Claim>);

impl Handler<Refreshed> for Job {
    type Result = ();

    fn handle(&mut self, Refreshed(claim): Refreshed, ctx: &mut Self::Context) {
        match claim {
            Ok(claim) => {
                self.claim = claim.clone();
                let run = Run::new(self.ctx.clone(), claim, self.stop.clone(), ctx.address().recipient());
                self.run = Some(run.start());
            }
            Err(error) => self.after_error(error, ctx),
        }
    }
}

/// Stop the run, for this reason.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct JobStop(pub Stop);

impl Handler<JobStop> for Job {
    type Result = ();

    fn handle(&mut self, JobStop(stop): JobStop, ctx: &mut Self::Context) {
        self.stop.stop(stop);
        match &self.run {
            Some(run) => run.do_send(RunStop),
            // Between two attempts.
            None if self.work.is_none() => self.try_once(ctx),
            None => {}
        }
    }
}

/// An attempt's end.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct AttemptEnded(pub Result<AttemptEnd>);

impl Handler<AttemptEnded> for Job {
    type Result = ();

    fn handle(&mut self, AttemptEnded(end): AttemptEnded, ctx: &mut Self::Context) {
        self.run = None;
        self.work = None;
        match end {
            Ok(AttemptEnd::Ended(run)) => self.end(Ok(*run), true, ctx),
            Ok(AttemptEnd::HandedBack) => self.end(Err(Stop::Draining.into()), false, ctx),
            Err(error) => self.after_error(error, ctx),
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Failed(Result<model::Run>);

impl Handler<Failed> for Job {
    type Result = ();

    fn handle(&mut self, Failed(result): Failed, ctx: &mut Self::Context) {
        let is_settled = result.is_ok();
        self.end(result, is_settled, ctx);
    }
}
