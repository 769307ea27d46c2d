//! One claimed run: builds an attempt, watches it, waits and builds the next one, and ends the run when no attempt can
//! help.

use std::sync::Arc;

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, Recipient};

use super::{
    child::{Child, End, LastWord},
    run::{Run, RunStop},
    task::Task,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model,
    run::{
        RunContext,
        claim::Claim,
        conclude::{self, AttemptEnd, Verdict},
        progress,
        stop::{Stop, StopSwitch},
    },
};

/// The actor of one claimed run.
pub(super) struct Job {
    ctx: Arc<RunContext>,
    claim: Claim,
    attempt: u32,
    stop: StopSwitch,
    run: Option<Child<Run>>,
    /// Ends with the actor.
    work: Option<Task>,
    look: Option<Task>,
    last_word: LastWord<JobEnded>,
}

/// A job is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct JobEnded(pub JobEnd);

/// How a job ended.
pub(super) enum JobEnd {
    /// The run has ended: nobody needs the order any more.
    Over(Box<model::Run>),
    /// The run is live and free for another worker.
    HandedBack,
    /// The run is another worker's, or its end could not be written.
    Left(Error),
    /// The actor broke off.
    BrokeOff,
}

impl Job {
    pub fn new(ctx: Arc<RunContext>, claim: Claim, source: Recipient<JobEnded>) -> Self {
        let last_word = LastWord::broke_off(source, JobEnded(JobEnd::BrokeOff));
        Self { ctx, claim, attempt: 0, stop: StopSwitch::new(), run: None, work: None, look: None, last_word }
    }

    fn try_once(&mut self, ctx: &mut Context<Self>) {
        if let Some(stop) = self.stop.reason() {
            let (run_ctx, claim) = (self.ctx.clone(), self.claim.clone());
            let work = async move { conclude::stop_run(&run_ctx, &claim, stop, None).await };
            self.work = Some(Task::start(work, ctx.address().recipient(), Stopped));
            return;
        }
        self.attempt += 1;
        if self.attempt == 1 && self.claim.taken.is_some() {
            return self.begin_attempt(ctx);
        }
        let (run_ctx, claim) = (self.ctx.clone(), self.claim.clone());
        let work = async move { conclude::refreshed(&run_ctx, &claim).await };
        self.work = Some(Task::start(work, ctx.address().recipient(), Refreshed));
    }

    /// Builds the attempt from the claim as it is now.
    fn begin_attempt(&mut self, ctx: &mut Context<Self>) {
        let broke_off = Error::new(ErrorKind::Bug, "an attempt's actor broke off; see the log");
        let ended = AttemptEnded { attempt: self.attempt, end: Err(broke_off) };
        let last_word = LastWord::broke_off(ctx.address().recipient(), ended);
        let run = Run::new(self.ctx.clone(), self.claim.clone(), self.stop.clone(), self.attempt, last_word);
        self.run = Some(Child::start(run));
    }

    fn after_error(&mut self, error: Error, ctx: &mut Context<Self>) {
        match conclude::judge(&self.ctx, &self.claim, &error, self.attempt) {
            Verdict::TryAgain(wait) => {
                tracing::warn!(%error, run = %self.claim.order.run_id, ?wait, "an attempt failed; trying again");
                self.claim.pulse.wait(wait);
                let attempt = self.attempt;
                ctx.run_later(wait, move |job, ctx| {
                    // Whoever stopped the wait has begun the next one.
                    if job.attempt == attempt && job.work.is_none() {
                        job.try_once(ctx);
                    }
                });
            }
            Verdict::LetGo => self.end(JobEnd::Left(error), ctx),
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

    fn after_attempt(&mut self, end: Result<AttemptEnd>, ctx: &mut Context<Self>) {
        self.run = None;
        self.work = None;
        match end {
            Ok(AttemptEnd::Ended(run)) => self.end(JobEnd::Over(run), ctx),
            Ok(AttemptEnd::HandedBack) => self.end(JobEnd::HandedBack, ctx),
            Err(error) => self.after_error(error, ctx),
        }
    }

    /// While no attempt lives, nobody else looks for a wish to cancel.
    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.run.is_some() || self.work.is_some() || self.look.is_some() {
            return;
        }
        let (run_ctx, claim, stop) = (self.ctx.clone(), self.claim.clone(), self.stop.clone());
        let work = async move { progress::look(&run_ctx, &claim, &stop).await };
        self.look = Some(Task::start(work, ctx.address().recipient(), Looked));
    }

    fn end(&mut self, end: JobEnd, ctx: &mut Context<Self>) {
        self.last_word.will_be(JobEnded(end));
        ctx.stop();
    }
}

impl Actor for Job {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.try_once(ctx);
        ctx.run_interval(self.ctx.settings.progress_every, Self::look);
    }
}

impl Handler<End> for Job {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Looked(Result<()>);

impl Handler<Looked> for Job {
    type Result = ();

    fn handle(&mut self, Looked(result): Looked, ctx: &mut Self::Context) {
        self.look = None;
        if let Err(error) = result {
            tracing::debug!(%error, "it could not be looked whether the run is to stop");
        }
        if self.stop.reason().is_some() && self.run.is_none() && self.work.is_none() {
            self.try_once(ctx);
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Refreshed(Result<Claim>);

impl Handler<Refreshed> for Job {
    type Result = ();

    fn handle(&mut self, Refreshed(claim): Refreshed, ctx: &mut Self::Context) {
        self.work = None;
        match claim {
            Ok(claim) => {
                self.claim = claim;
                self.begin_attempt(ctx);
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
            Some(run) => run.tell(RunStop),
            // Between two attempts.
            None if self.work.is_none() => self.try_once(ctx),
            None => {}
        }
    }
}

/// An attempt is gone.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct AttemptEnded {
    pub attempt: u32,
    pub end: Result<AttemptEnd>,
}

impl Handler<AttemptEnded> for Job {
    type Result = ();

    fn handle(&mut self, ended: AttemptEnded, ctx: &mut Self::Context) {
        if ended.attempt == self.attempt {
            self.after_attempt(ended.end, ctx);
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Stopped(Result<AttemptEnd>);

impl Handler<Stopped> for Job {
    type Result = ();

    fn handle(&mut self, Stopped(end): Stopped, ctx: &mut Self::Context) {
        self.after_attempt(end, ctx);
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Failed(Result<model::Run>);

impl Handler<Failed> for Job {
    type Result = ();

    fn handle(&mut self, Failed(result): Failed, ctx: &mut Self::Context) {
        let end = match result {
            Ok(run) => JobEnd::Over(Box::new(run)),
            Err(error) => JobEnd::Left(error),
        };
        self.end(end, ctx);
    }
}
