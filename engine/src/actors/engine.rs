//! The root: starts everybody, hands orders to their source's actor, drains.

use std::{collections::HashMap, sync::Arc};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, ResponseFuture, Supervisor};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use super::{
    activity::Activity,
    indexer::Indexer,
    intake::{Intake, SlotFree},
    scheduler::Scheduler,
    source::{Begin, Rest, Source, StopWork},
    upkeep::Upkeep,
    watch::Watch,
};
use crate::{
    error::Result,
    model::{Run, SourceId},
    run::{RunContext, delivery::Delivery, order::RunOrder, stop::Stop},
};

/// Which immortal children a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles {
    /// All: a worker.
    Worker,
    /// None but the indexer and the relay of events: a one-shot command brings its own order.
    OneShot,
}

/// The root of the tree.
pub struct Engine {
    ctx: Arc<RunContext>,
    roles: Roles,
    children: Vec<Child>,
    intake: Option<Addr<Intake>>,
    sources: HashMap<SourceId, Live>,
    /// True once draining; immortal children watch it.
    draining: watch::Sender<bool>,
    drained: Vec<oneshot::Sender<()>>,
}

/// Keeps an immortal child alive.
#[expect(dead_code, reason = "holding the address is what keeps the supervised child alive")]
enum Child {
    Scheduler(Addr<Scheduler>),
    Indexer(Addr<Indexer>),
    Activity(Addr<Activity>),
    Upkeep(Addr<Upkeep>),
    Watch(Addr<Watch>),
}

struct Live {
    address: Addr<Source>,
    orders: usize,
}

impl Engine {
    /// Starts the tree on the current actix system.
    pub fn start(ctx: Arc<RunContext>, roles: Roles) -> Addr<Self> {
        let engine = Self {
            ctx,
            roles,
            children: Vec::new(),
            intake: None,
            sources: HashMap::new(),
            draining: watch::channel(false).0,
            drained: Vec::new(),
        };
        Actor::start(engine)
    }

    fn tell_if_drained(&mut self) {
        if *self.draining.borrow() && self.sources.is_empty() {
            for waiting in self.drained.drain(..) {
                // Who waited may have given up.
                let _gone = waiting.send(());
            }
        }
    }
}

impl Actor for Engine {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let run_ctx = self.ctx.clone();
        let draining = self.draining.subscribe();
        self.children.push(Child::Indexer({
            let (run_ctx, draining) = (run_ctx.clone(), draining.clone());
            Supervisor::start(move |_| Indexer::new(run_ctx, draining))
        }));
        self.children.push(Child::Activity({
            let run_ctx = run_ctx.clone();
            Supervisor::start(move |_| Activity::new(run_ctx))
        }));
        if self.roles == Roles::OneShot {
            return;
        }
        self.children.push(Child::Scheduler({
            let (run_ctx, draining) = (run_ctx.clone(), draining.clone());
            Supervisor::start(move |_| Scheduler::new(run_ctx, draining))
        }));
        self.children.push(Child::Upkeep({
            let (run_ctx, draining) = (run_ctx.clone(), draining.clone());
            Supervisor::start(move |_| Upkeep::new(run_ctx, draining))
        }));
        self.children.push(Child::Watch({
            let (run_ctx, draining) = (run_ctx.clone(), draining.clone());
            Supervisor::start(move |_| Watch::new(run_ctx, draining))
        }));
        let deliver = ctx.address().recipient();
        self.intake = Some(Supervisor::start(move |_| Intake::new(run_ctx, deliver, draining)));
    }
}

/// An order to carry out, from the queue or from a person's own command.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Deliver {
    /// What to do.
    pub order: RunOrder,
    /// The queue's message, kept invisible while the order is held.
    pub delivery: Option<Delivery>,
    /// Told how the order ended, where somebody waits for it.
    pub done: Option<oneshot::Sender<Result<Run>>>,
}

impl Deliver {
    /// An order that nobody gave: a run that has to go on before another one of its source.
    pub(super) fn of_our_own(order: RunOrder) -> Self {
        Self { order, delivery: None, done: None }
    }

    /// True when somebody gave the order and it takes a slot.
    pub(super) fn is_given(&self) -> bool {
        self.delivery.is_some() || self.done.is_some()
    }
}

impl Handler<Deliver> for Engine {
    type Result = ();

    fn handle(&mut self, deliver: Deliver, ctx: &mut Self::Context) {
        // An order that arrives while draining goes back by itself: its delivery is dropped.
        if *self.draining.borrow() {
            return;
        }
        let source_id = deliver.order.source_id;
        let live = self.sources.entry(source_id).or_insert_with(|| Live {
            address: Source::new(self.ctx.clone(), source_id, ctx.address().recipient()).start(),
            orders: 0,
        });
        live.orders += 1;
        live.address.do_send(Begin(deliver));
    }
}

/// A source's actor has finished with one order, or died with its orders.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct OrdersDone {
    pub source_id: SourceId,
    pub orders: usize,
}

impl Handler<OrdersDone> for Engine {
    type Result = ();

    fn handle(&mut self, done: OrdersDone, _: &mut Self::Context) {
        if let Some(live) = self.sources.get_mut(&done.source_id) {
            live.orders = live.orders.saturating_sub(done.orders);
            if live.orders == 0 {
                // The root is the only one who sends orders, so none can be on its way.
                live.address.do_send(Rest);
                self.sources.remove(&done.source_id);
            }
        }
        if let Some(intake) = &self.intake {
            intake.do_send(SlotFree(done.orders));
        }
        self.tell_if_drained();
    }
}

/// Stops taking work, lets every run reach a checkpoint and let go of its lease. Answers when all is quiet or the drain
/// deadline has passed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

impl Handler<Drain> for Engine {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Drain, _: &mut Self::Context) -> Self::Result {
        self.draining.send_replace(true);
        for live in self.sources.values() {
            live.address.do_send(StopWork(Stop::Draining));
        }
        let (sender, receiver) = oneshot::channel();
        self.drained.push(sender);
        self.tell_if_drained();
        let deadline = self.ctx.settings.drain_deadline;
        Box::pin(async move {
            if timeout(deadline, receiver).await.is_err() {
                tracing::warn!(
                    "some runs did not reach a checkpoint within the drain deadline; their leases will expire"
                );
            }
        })
    }
}
