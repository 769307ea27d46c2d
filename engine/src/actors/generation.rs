//! The parts of a worker that live as long as it does. They are built together and end together: when one of them breaks off, the
//! root ends the others and builds all of them anew from what is stored.

use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler, Message, Recipient};
use tokio::{sync::watch, time::Instant};

use super::{
    activity::Activity,
    child::{Child, End, LastWord, Tie},
    courier::Courier,
    engine::{Deliver, Engine, Roles},
    indexer::Indexer,
    intake::{Intake, SlotFree},
    scheduler::Scheduler,
    upkeep::Upkeep,
    watch::Watch,
};
use crate::run::RunContext;

/// A part of a generation is gone.
#[derive(Clone, Copy, Message)]
#[rtype(result = "()")]
pub(super) struct PartGone {
    /// The generation's number.
    pub generation: u64,
    /// Which part.
    pub part: &'static str,
}

/// The last word of a part.
pub(super) type PartWord = LastWord<PartGone>;

/// What a generation is built from.
pub(super) struct Plan {
    pub ctx: Arc<RunContext>,
    pub roles: Roles,
    pub draining: watch::Sender<bool>,
    /// Orders that may be taken at once.
    pub free: usize,
}

/// One generation.
pub(super) struct Generation {
    pub number: u64,
    pub born: Instant,
    intake: Option<Child<Intake>>,
    _others: Vec<Tie>,
}

impl Generation {
    pub(super) fn build(plan: &Plan, number: u64, root: &Addr<Engine>) -> Self {
        let parts = Parts { plan, number, root: root.clone().recipient() };
        let (mut others, mut intake) = (Vec::new(), None);
        if plan.roles.relay() {
            others.push(parts.start(|ctx, _, word| Activity::new(ctx, word), "activity"));
        }
        if plan.roles.index() {
            others.push(parts.start(Indexer::new, "indexer"));
        }
        if plan.roles.schedule() {
            let is_first = number == 1;
            others.push(parts.start(|ctx, draining, word| Scheduler::new(ctx, draining, is_first, word), "scheduler"));
            others.push(parts.start(Watch::new, "watch"));
        }
        if plan.roles.work() {
            others.push(parts.start(Upkeep::new, "upkeep"));
            others.push(parts.start(Courier::new, "courier"));
            let deliver: Recipient<Deliver> = root.clone().recipient();
            let (draining, word) = (plan.draining.subscribe(), parts.word("intake"));
            intake = Some(Child::start(Intake::new(plan.ctx.clone(), deliver, draining, plan.free, word)));
        }
        Self { number, born: Instant::now(), intake, _others: others }
    }

    /// So many orders are over.
    pub(super) fn free(&self, slots: usize) {
        if let Some(intake) = &self.intake {
            intake.tell(SlotFree(slots));
        }
    }
}

struct Parts<'a> {
    plan: &'a Plan,
    number: u64,
    root: Recipient<PartGone>,
}

impl Parts<'_> {
    fn word(&self, part: &'static str) -> PartWord {
        LastWord::broke_off(self.root.clone(), PartGone { generation: self.number, part })
    }

    fn start<A: Actor<Context = Context<A>> + Handler<End>>(
        &self,
        make: impl FnOnce(Arc<RunContext>, watch::Receiver<bool>, PartWord) -> A,
        part: &'static str,
    ) -> Tie {
        Tie::to(make(self.plan.ctx.clone(), self.plan.draining.subscribe(), self.word(part)).start())
    }
}
