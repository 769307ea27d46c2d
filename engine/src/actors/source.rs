//! One source with orders: takes its lease, keeps it alive, carries out one order at a time.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Recipient};
use tokio::time::Instant;

use super::{
    engine::{Deliver, OrdersDone},
    job::{Job, JobStop},
    task::Task,
};
use crate::{
    error::{ErrorKind, Result},
    model::{Run, SourceId},
    run::{
        RunContext,
        claim::{self, Claim, Claimed},
        order::RunOrder,
        stop::Stop,
    },
};

/// Wait before a claim is tried again after a store could not be reached.
const CLAIM_RETRY: Duration = Duration::from_secs(2);
/// Longest wait for another worker's lease before looking again.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// The actor of one source.
pub(super) struct Source {
    ctx: Arc<RunContext>,
    source_id: SourceId,
    engine: Recipient<OrdersDone>,
    waiting: VecDeque<Deliver>,
    current: Option<Current>,
    stopping: Option<Stop>,
}

/// The order in hand.
struct Current {
    deliver: Deliver,
    work: Work,
}

enum Work {
    Claiming(#[expect(dead_code, reason = "dropping it ends the claim")] Task),
    Waiting,
    Running { job: Addr<Job>, claim: Box<Claim>, renewed_at: Instant, heartbeat: Option<Task> },
}

impl Source {
    pub fn new(ctx: Arc<RunContext>, source_id: SourceId, engine: Recipient<OrdersDone>) -> Self {
        Self { ctx, source_id, engine, waiting: VecDeque::new(), current: None, stopping: None }
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
    fn finish(&mut self, result: Result<Run>, is_settled: bool, ctx: &mut Context<Self>) {
        if let Some(Current { deliver, .. }) = self.current.take() {
            let orders = usize::from(deliver.is_given());
            if let Some(done) = deliver.done {
                // Who waited may have given up.
                let _gone = done.send(result);
            }
            let (engine, source_id) = (self.engine.clone(), self.source_id);
            // The order is over for the root once its message is settled: a drained process leaves none half told.
            tokio::spawn(async move {
                match deliver.delivery {
                    Some(delivery) if is_settled => delivery.acknowledge().await,
                    Some(delivery) => delivery.give_back().await,
                    None => {}
                }
                engine.do_send(OrdersDone { source_id, orders });
            });
        }
        self.next(ctx);
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
                return actor.finish(Err(Stop::Draining.into()), false, ctx);
            }
            if let Some(current) = actor.current.take() {
                let work = actor.claim(&current.deliver, ctx);
                actor.current = Some(Current { work, ..current });
            }
        });
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

    fn run(&mut self, claim: Box<Claim>, ctx: &mut Context<Self>) {
        let job = Job::new(self.ctx.clone(), (*claim).clone(), ctx.address().recipient()).start();
        if let Some(stop) = self.stopping {
            job.do_send(JobStop(stop));
        }
        if let Some(current) = &mut self.current {
            current.work = Work::Running { job, claim, renewed_at: Instant::now(), heartbeat: None };
        }
    }

    fn beat(&mut self, ctx: &mut Context<Self>) {
        let Some(Current { work: Work::Running { claim, heartbeat, .. }, .. }) = &mut self.current else { return };
        let (run_ctx, claim) = (self.ctx.clone(), claim.clone());
        let work = async move { claim::heartbeat(&run_ctx, &claim).await };
        *heartbeat = Some(Task::start(work, ctx.address().recipient(), HeartbeatEnded));
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
        self.waiting.push_back(deliver);
        self.next(ctx);
    }
}

/// There are no more orders.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Rest;

impl Handler<Rest> for Source {
    type Result = ();

    fn handle(&mut self, _: Rest, ctx: &mut Self::Context) {
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
            Some(Current { work: Work::Running { job, .. }, .. }) => job.do_send(JobStop(stop)),
            Some(Current { work: Work::Waiting, .. }) => self.finish(Err(stop.into()), false, ctx),
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
            Ok(Claimed::Ours(claim)) => self.run(claim, ctx),
            Ok(Claimed::Over(run)) => self.finish(Ok(*run), true, ctx),
            Ok(Claimed::Busy(wait)) => self.claim_later(wait.min(BUSY_MAX), ctx),
            Ok(Claimed::First(order)) => self.go_on_with(order, ctx),
            Err(error) if error.kind() == ErrorKind::Retry => {
                tracing::warn!(%error, "a claim is tried again");
                self.claim_later(CLAIM_RETRY, ctx);
            }
            Err(error) => {
                tracing::error!(%error, "an order cannot be carried out; it goes back to the queue");
                self.finish(Err(error), false, ctx);
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
        let Some(Current { work: Work::Running { job, renewed_at, .. }, .. }) = &mut self.current else { return };
        match result {
            Ok(()) => *renewed_at = Instant::now(),
            Err(error) if error.kind() != ErrorKind::Fenced && renewed_at.elapsed() < lease => {
                tracing::warn!(%error, "a heartbeat failed; the lease still holds");
            }
            Err(error) => {
                tracing::warn!(%error, "the lease is lost");
                job.do_send(JobStop(Stop::Fenced));
            }
        }
    }
}

/// A job's end.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct JobEnded {
    /// The run as it ended, or why it did not.
    pub result: Result<Run>,
    /// True when nobody needs the order any more.
    pub is_settled: bool,
}

impl Handler<JobEnded> for Source {
    type Result = ();

    fn handle(&mut self, ended: JobEnded, ctx: &mut Self::Context) {
        self.finish(ended.result, ended.is_settled, ctx);
    }
}
