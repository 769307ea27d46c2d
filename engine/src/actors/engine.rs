//! The root: starts everybody, hands orders to their source's actor, builds anew what breaks off, drains.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, ResponseFuture};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

use super::{
    child::Child,
    generation::{Generation, PartGone, Plan},
    source::{Begin, Source, SourceGone, StopWork},
};
use crate::{
    error::Result,
    model::{Run, SourceId},
    run::{RunContext, delivery::Delivery, order::RunOrder, stop::Stop, tries::Restarts},
};

/// Which of its parts a process runs. In a fleet each process has one of the three roles in the middle, and several may have the same:
/// whatever two of them take up, one gets by a conditional write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles {
    /// All.
    All,
    /// Takes orders from the job queue and carries them out; looks after stored snapshots.
    Worker,
    /// Fires due jobs, sends lost orders again, watches how fresh sources are, relays events.
    Scheduler,
    /// Indexes new snapshots.
    Indexer,
    /// Indexes, and relays events: a one-shot command brings its own order.
    OneShot,
}

impl Roles {
    /// True where orders are taken from the job queue.
    pub fn work(self) -> bool {
        matches!(self, Self::All | Self::Worker)
    }

    /// True where it is looked what is due.
    pub fn schedule(self) -> bool {
        matches!(self, Self::All | Self::Scheduler)
    }

    /// True where new snapshots are indexed.
    pub(super) fn index(self) -> bool {
        matches!(self, Self::All | Self::Indexer | Self::OneShot)
    }

    /// True where events are relayed.
    pub fn relay(self) -> bool {
        self.schedule() || self == Self::OneShot
    }
}

/// The root of the tree.
pub struct Engine {
    ctx: Arc<RunContext>,
    roles: Roles,
    /// `None` between one that broke off and the next.
    generation: Option<Generation>,
    generations: u64,
    restarts: Restarts,
    sources: BTreeMap<SourceId, Live>,
    /// Numbers the actors of sources: one that broke off and the next one of the same source differ.
    births: u64,
    /// True once draining; the parts of a generation watch it.
    draining: watch::Sender<bool>,
    drained: Vec<oneshot::Sender<()>>,
    /// True once there is no use in another generation.
    given_up: watch::Sender<bool>,
}

struct Live {
    child: Child<Source>,
    birth: u64,
    orders: usize,
}

impl Engine {
    /// Starts the tree on the current actix system.
    pub fn start(ctx: Arc<RunContext>, roles: Roles) -> Addr<Self> {
        let engine = Self {
            ctx,
            roles,
            generation: None,
            generations: 0,
            restarts: Restarts::default(),
            sources: BTreeMap::new(),
            births: 0,
            draining: watch::channel(false).0,
            drained: Vec::new(),
            given_up: watch::channel(false).0,
        };
        Actor::start(engine)
    }

    fn build(&mut self, ctx: &mut Context<Self>) {
        if *self.draining.borrow() {
            return;
        }
        let held: usize = self.sources.values().map(|live| live.orders).sum();
        let plan = Plan {
            ctx: self.ctx.clone(),
            roles: self.roles,
            draining: self.draining.clone(),
            free: self.ctx.settings.slots.saturating_sub(held),
        };
        self.generations += 1;
        self.generation = Some(Generation::build(&plan, self.generations, &ctx.address()));
    }

    /// So many orders are over.
    fn free(&self, slots: usize) {
        if let Some(generation) = &self.generation {
            generation.free(slots);
        }
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
        self.build(ctx);
    }
}

impl Handler<PartGone> for Engine {
    type Result = ();

    fn handle(&mut self, PartGone { generation, part }: PartGone, ctx: &mut Self::Context) {
        let Some(ended) = self.generation.take_if(|now| now.number == generation && !*self.draining.borrow()) else {
            return;
        };
        metrics::counter!("listbackup_engine_restarts_total", "part" => part).increment(1);
        let lived = ended.born.elapsed();
        // The other parts end with it.
        drop(ended);
        match self.restarts.next(lived) {
            Some(wait) => {
                tracing::error!(part, ?wait, "a part of the engine broke off; all of its parts are built anew");
                ctx.run_later(wait, Self::build);
            }
            None => {
                tracing::error!(part, "a part of the engine broke off again and again; giving up");
                self.given_up.send_replace(true);
            }
        }
    }
}

/// Answers when parts of the engine broke off so often that only another process can help.
#[derive(Message)]
#[rtype(result = "()")]
pub struct GaveUp;

impl Handler<GaveUp> for Engine {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: GaveUp, _: &mut Self::Context) -> Self::Result {
        let mut given_up = self.given_up.subscribe();
        Box::pin(async move {
            // An error means that the root itself is gone.
            let _gone = given_up.wait_for(|given_up| *given_up).await;
        })
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

    /// True when its message is so old that the queue may end it soon.
    pub(super) fn is_older_than(&self, longest: Duration) -> bool {
        self.delivery.as_ref().is_some_and(|delivery| delivery.age() >= longest)
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
        let births = &mut self.births;
        let live = self.sources.entry(source_id).or_insert_with(|| {
            *births += 1;
            let last_word = SourceGone { source_id, birth: *births };
            let source = Source::new(self.ctx.clone(), source_id, ctx.address(), last_word);
            Live { child: Child::start(source), birth: *births, orders: 0 }
        });
        live.orders += 1;
        live.child.tell(Begin(deliver));
    }
}

/// A source's actor has finished with orders.
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
                self.sources.remove(&done.source_id);
            }
        }
        self.free(done.orders);
        self.tell_if_drained();
    }
}

impl Handler<SourceGone> for Engine {
    type Result = ();

    fn handle(&mut self, gone: SourceGone, _: &mut Self::Context) {
        let Some(live) = self.sources.get(&gone.source_id).filter(|live| live.birth == gone.birth) else { return };
        let orders = live.orders;
        tracing::error!(source = %gone.source_id, orders, "a source's actor broke off; its orders come again");
        self.sources.remove(&gone.source_id);
        self.free(orders);
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
            live.child.tell(StopWork(Stop::Draining));
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
