//! One source with orders: takes its lease, keeps it alive, carries out one order at a time.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message};
use tokio::time::Instant;

use super::{
    child::{Child, End, LastWord},
    engine::{Deliver, Engine, OrdersDone},
    job::{Job, JobEnd, JobEnded, JobStop},
    task::Task,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{Run, SourceId},
    run::{
        RunContext,
        claim::{self, Claim, Claimed},
        delivery::Settling,
        order::RunOrder,
        stop::Stop,
        tries::Restarts,
    },
};

/// Wait before a claim is tried again after a store could not be reached.
const CLAIM_RETRY: Duration = Duration::from_secs(2);
/// Longest wait for another worker's lease before looking again.
const BUSY_MAX: Duration = Duration::from_secs(10);
/// Orders that wait here for the one in hand; each takes a slot of the worker. Others come again later.
const WAITING_MAX: usize = 1;

/// The actor of one source.
pub(super) struct Source {
    ctx: Arc<RunContext>,
    source_id: SourceId,
    engine: Addr<Engine>,
    waiting: VecDeque<Deliver>,
    current: Option<Current>,
    stopping: Option<Stop>,
    _last_word: LastWord<SourceGone>,
}

/// A source's actor is gone: its orders are over, or it broke off.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) struct SourceGone {
    pub source_id: SourceId,
    /// The number that it was born with.
    pub birth: u64,
}

/// The order in hand.
struct Current {
    deliver: Deliver,
    work: Work,
}

enum Work {
    Claiming(#[expect(dead_code, reason = "dropping it ends the claim")] Task),
    Waiting,
    Held(Box<Held>),
}

/// A run of this worker, under the source's lease.
struct Held {
    claim: Claim,
    /// `None` between one that broke off and the next.
    job: Option<Child<Job>>,
    born: Instant,
    restarts: Restarts,
    renewed_at: Instant,
    heartbeat: Option<Task>,
}

impl Held {
    fn stop(&self, stop: Stop) {
        if let Some(job) = &self.job {
            job.tell(JobStop(stop));
        }
    }
}

impl Source {
    pub fn new(ctx: Arc<RunContext>, source_id: SourceId, engine: Addr<Engine>, gone: SourceGone) -> Self {
        let last_word = LastWord::broke_off(engine.clone().recipient(), gone);
        Self { ctx, source_id, engine, waiting: VecDeque::new(), current: None, stopping: None, _last_word: last_word }
    }

    fn next(&mut self, ctx: &mut Context<Self>) {
        if self.current.is_some() {
            return;
        }
        if self.stopping.is_some() {
            // Their messages become visible by themselves when the deliveries drop.
            let orders = self.waiting.drain(..).filter(Deliver::is_given).count();
            self.tell_done(orders);
            return;
        }
        if let Some(deliver) = self.waiting.pop_front() {
            let work = self.claim(&deliver, ctx);
            self.current = Some(Current { deliver, work });
        }
    }

    fn claim(&self, deliver: &Deliver, ctx: &mut Context<Self>) -> Work {
        let (run_ctx, order) = (self.ctx.clone(), deliver.order.clone());
        let work = async move { claim::claim(&run_ctx, &order).await };
        Work::Claiming(Task::start(work, ctx.address().recipient(), ClaimEnded))
    }

    /// The order in hand is over; `result` goes to whoever waits for it.
    fn finish(&mut self, result: Result<Run>, settling: Settling, ctx: &mut Context<Self>) {
        if let Some(Current { mut deliver, .. }) = self.current.take() {
            if let Some(done) = deliver.done.take() {
                // Who waited may have given up.
                let _gone = done.send(result);
                self.tell_done(1);
            } else {
                self.settle(deliver, settling);
            }
        }
        self.next(ctx);
    }

    /// The order is over for the root once its message is settled: a drained process leaves none half told.
    fn settle(&self, deliver: Deliver, settling: Settling) {
        let orders = usize::from(deliver.is_given());
        let (run_ctx, engine, source_id) = (self.ctx.clone(), self.engine.clone(), self.source_id);
        tokio::spawn(async move {
            if let Some(delivery) = deliver.delivery {
                delivery.settle(&run_ctx, &deliver.order, settling).await;
            }
            engine.do_send(OrdersDone { source_id, orders });
        });
    }

    fn tell_done(&self, orders: usize) {
        if orders > 0 {
            self.engine.do_send(OrdersDone { source_id: self.source_id, orders });
        }
    }

    fn claim_later(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        if let Some(current) = &mut self.current {
            current.work = Work::Waiting;
        }
        ctx.run_later(wait, |actor, ctx| {
            if actor.stopping.is_some() {
                return actor.finish(Err(Stop::Draining.into()), Settling::GiveBack, ctx);
            }
            if let Some(current) = actor.current.take_if(|current| matches!(current.work, Work::Waiting)) {
                let work = actor.claim(&current.deliver, ctx);
                actor.current = Some(Current { work, ..current });
            }
        });
    }

    /// Somebody else has the source, or there is no place for its run: the order comes again after `wait`. Who waits for it waits
    /// here; a message takes no slot meanwhile.
    fn come_again(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        let has_message = self.current.as_ref().is_some_and(|current| current.deliver.delivery.is_some());
        if has_message && self.stopping.is_none() {
            self.finish(Err(Error::new(ErrorKind::Retry, "the order comes again")), Settling::Defer(wait), ctx);
        } else {
            self.claim_later(wait.min(BUSY_MAX), ctx);
        }
    }

    /// Lets a run go on before the order in hand, which then comes again.
    fn go_on_with(&mut self, order: RunOrder, ctx: &mut Context<Self>) {
        if let Some(Current { deliver, .. }) = self.current.take() {
            self.waiting.push_front(deliver);
        }
        // Its own message may be here already.
        let place = self.waiting.iter().position(|waiting| waiting.order == order);
        let first = place.and_then(|place| self.waiting.remove(place));
        self.waiting.push_front(first.unwrap_or_else(|| Deliver::of_our_own(order)));
        self.next(ctx);
    }

    fn hold(&mut self, claim: Claim, ctx: &mut Context<Self>) {
        if let Some(current) = &mut self.current {
            let now = Instant::now();
            let held =
                Held { claim, job: None, born: now, restarts: Restarts::default(), renewed_at: now, heartbeat: None };
            current.work = Work::Held(Box::new(held));
        }
        self.start_job(ctx);
    }

    fn start_job(&mut self, ctx: &mut Context<Self>) {
        let Some(Current { work: Work::Held(held), .. }) = &mut self.current else { return };
        if held.job.is_some() {
            return;
        }
        held.born = Instant::now();
        held.job = Some(Child::start(Job::new(self.ctx.clone(), held.claim.clone(), ctx.address().recipient())));
        if let Some(stop) = self.stopping {
            held.stop(stop);
        }
    }

    /// The actor of the run broke off: another one goes on under the same lease, unless that was of no use several times.
    fn restart_job(&mut self, ctx: &mut Context<Self>) {
        let Some(Current { work: Work::Held(held), .. }) = &mut self.current else { return };
        held.job = None;
        // Its actor may have moved the run on.
        held.claim.taken = None;
        match held.restarts.next(held.born.elapsed()) {
            Some(wait) => {
                tracing::error!(run = %held.claim.order.run_id, ?wait, "a run's actor broke off; it is built anew");
                held.claim.pulse.wait(wait);
                ctx.run_later(wait, Self::start_job);
            }
            None => {
                tracing::error!(run = %held.claim.order.run_id, "a run's actor broke off again and again");
                let error = Error::new(ErrorKind::Bug, "the run's actor broke off again and again; see the log");
                self.finish(Err(error), Settling::GiveBack, ctx);
            }
        }
    }

    fn beat(&mut self, ctx: &mut Context<Self>) {
        self.renew_messages(ctx);
        let Some(Current { work: Work::Held(held), .. }) = &mut self.current else { return };
        let (run_ctx, claim) = (self.ctx.clone(), held.claim.clone());
        let work = async move { claim::heartbeat(&run_ctx, &claim).await };
        held.heartbeat = Some(Task::start(work, ctx.address().recipient(), HeartbeatEnded));
    }

    /// Messages that the queue would soon end go on as fresh ones; a run first comes to a checkpoint.
    fn renew_messages(&mut self, ctx: &mut Context<Self>) {
        let longest = self.ctx.settings.message_life;
        let (worn, waiting) = self.waiting.drain(..).partition(|deliver| deliver.is_older_than(longest));
        self.waiting = waiting;
        for deliver in worn {
            self.settle(deliver, Settling::Renew);
        }
        match &self.current {
            Some(Current { deliver, work }) if deliver.is_older_than(longest) => match work {
                Work::Held(held) => held.stop(Stop::HandOver),
                Work::Waiting => self.finish(Err(Stop::HandOver.into()), Settling::Renew, ctx),
                Work::Claiming(_) => {}
            },
            _ => {}
        }
    }
}

impl Actor for Source {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.ctx.settings.heartbeat, Self::beat);
    }
}

/// Carry out an order, after those before it.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Begin(pub Deliver);

impl Handler<Begin> for Source {
    type Result = ();

    fn handle(&mut self, Begin(deliver): Begin, ctx: &mut Self::Context) {
        let is_one_more = self.current.is_some() && self.waiting.len() >= WAITING_MAX;
        if is_one_more && deliver.delivery.is_some() {
            return self.settle(deliver, Settling::Defer(BUSY_MAX));
        }
        self.waiting.push_back(deliver);
        self.next(ctx);
    }
}

impl Handler<End> for Source {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

/// Stop what is under way and begin nothing more.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct StopWork(pub Stop);

impl Handler<StopWork> for Source {
    type Result = ();

    fn handle(&mut self, StopWork(stop): StopWork, ctx: &mut Self::Context) {
        self.stopping = Some(stop);
        match &self.current {
            Some(Current { work: Work::Held(held), .. }) => {
                held.stop(stop);
                // Between two of them, the next one stops in good order.
                self.start_job(ctx);
            }
            Some(Current { work: Work::Waiting, .. }) => self.finish(Err(stop.into()), Settling::GiveBack, ctx),
            // A claim under way ends first: it may have taken the lease, which must be let go.
            Some(Current { work: Work::Claiming(_), .. }) | None => self.next(ctx),
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct ClaimEnded(Result<Claimed>);

impl Handler<ClaimEnded> for Source {
    type Result = ();

    fn handle(&mut self, ClaimEnded(claimed): ClaimEnded, ctx: &mut Self::Context) {
        match claimed {
            Ok(Claimed::Ours(claim)) => self.hold(*claim, ctx),
            Ok(Claimed::Over(run)) => self.finish(Ok(*run), Settling::Acknowledge, ctx),
            Ok(Claimed::Busy(wait)) => self.come_again(wait, ctx),
            Ok(Claimed::First(order)) => self.go_on_with(order, ctx),
            Err(error) if error.kind() == ErrorKind::Retry => {
                tracing::warn!(%error, "a claim is tried again");
                self.claim_later(CLAIM_RETRY, ctx);
            }
            Err(error) => {
                tracing::error!(%error, "an order cannot be carried out; it goes back to the queue");
                self.finish(Err(error), Settling::GiveBack, ctx);
            }
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct HeartbeatEnded(Result<()>);

impl Handler<HeartbeatEnded> for Source {
    type Result = ();

    fn handle(&mut self, HeartbeatEnded(result): HeartbeatEnded, _: &mut Self::Context) {
        let lease = self.ctx.settings.lease;
        let Some(Current { work: Work::Held(held), .. }) = &mut self.current else { return };
        match result {
            Ok(()) => held.renewed_at = Instant::now(),
            Err(error) if error.kind() != ErrorKind::Fenced && held.renewed_at.elapsed() < lease => {
                tracing::warn!(%error, "a heartbeat failed; the lease still holds");
            }
            Err(error) => {
                tracing::warn!(%error, "the lease is lost");
                held.stop(Stop::Fenced);
            }
        }
    }
}

impl Handler<JobEnded> for Source {
    type Result = ();

    fn handle(&mut self, JobEnded(end): JobEnded, ctx: &mut Self::Context) {
        match end {
            JobEnd::Over(run) => self.finish(Ok(*run), Settling::Acknowledge, ctx),
            JobEnd::HandedBack if self.stopping.is_none() => {
                self.finish(Err(Stop::HandOver.into()), Settling::Renew, ctx);
            }
            JobEnd::HandedBack => self.finish(Err(Stop::Draining.into()), Settling::GiveBack, ctx),
            JobEnd::Left(error) => self.finish(Err(error), Settling::GiveBack, ctx),
            JobEnd::BrokeOff => self.restart_job(ctx),
        }
    }
}
