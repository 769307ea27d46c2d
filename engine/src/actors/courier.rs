//! Sends what is due: events to webhooks, and alerts by mail. It looks when the bell of its process rings, when something is due again that
//! it knows of, and once a minute what others left. Looks go on beside each other, so that one that waits for a slow receiver holds up no
//! other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Message, SpawnHandle};
use tokio::{sync::watch, time::Instant};

use super::{child::End, generation::PartWord, task::Task};
use crate::{
    error::Result,
    latest::Follower,
    run::{
        RunContext, alerts,
        deliveries::{Courier as Sender, Sent},
    },
};

/// How often it is looked what others left: processes that died, and those that have no courier.
const EVERY: Duration = Duration::from_secs(60);
/// A look that failed is made up for so much later.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Looks at the same time.
const LOOKS_MAX: usize = 8;
/// Times that are remembered; what is due at others is found once a minute.
const TIMES_MAX: usize = 1000;

/// The actor of the courier.
pub(super) struct Courier {
    ctx: Arc<RunContext>,
    draining: watch::Receiver<bool>,
    sender: Option<Arc<Sender>>,
    /// Looks under way, by their numbers.
    looks: BTreeMap<u64, Task>,
    number: u64,
    /// A look was wanted while there were too many.
    is_wanted: bool,
    /// Waits for the bell.
    listening: Option<Task>,
    born: Instant,
    /// When something is due, in seconds since it was born.
    times: BTreeSet<u64>,
    /// Set to the first of the times.
    alarm: Option<(u64, SpawnHandle)>,
    _last_word: PartWord,
}

impl Courier {
    pub fn new(ctx: Arc<RunContext>, draining: watch::Receiver<bool>, last_word: PartWord) -> Self {
        let sender = Sender::new(&ctx).map(Arc::new);
        if let Err(error) = &sender {
            tracing::error!(%error, "events cannot be sent to webhooks");
        }
        Self {
            ctx,
            draining,
            sender: sender.ok(),
            looks: BTreeMap::new(),
            number: 0,
            is_wanted: false,
            listening: None,
            born: Instant::now(),
            times: BTreeSet::new(),
            alarm: None,
            _last_word: last_word,
        }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        let Some(sender) = self.sender.clone().filter(|_| !*self.draining.borrow()) else { return };
        if self.looks.len() >= LOOKS_MAX {
            self.is_wanted = true;
            return;
        }
        self.number += 1;
        let (run_ctx, number) = (self.ctx.clone(), self.number);
        let work = async move {
            let (events, letters) = futures::join!(sender.look(&run_ctx), alerts::look(&run_ctx));
            Ok(events?.and(letters?))
        };
        let task = Task::start(work, ctx.address().recipient(), move |result| Looked { number, result });
        self.looks.insert(number, task);
    }

    fn listen(&mut self, mut rings: Follower<()>, ctx: &mut Context<Self>) {
        let work = async move {
            rings.changed().await;
            Ok(rings)
        };
        self.listening = Some(Task::start(work, ctx.address().recipient(), Rang));
    }

    /// Looks again when so much time has passed, or a little later.
    fn look_after(&mut self, wait: Duration, ctx: &mut Context<Self>) {
        if self.times.len() < TIMES_MAX {
            self.times.insert((self.born.elapsed() + wait).as_secs() + 1);
            self.set_alarm(ctx);
        }
    }

    fn set_alarm(&mut self, ctx: &mut Context<Self>) {
        let first = self.times.first().copied();
        if self.alarm.as_ref().map(|(at, _)| *at) == first {
            return;
        }
        if let Some((_, later)) = self.alarm.take() {
            ctx.cancel_future(later);
        }
        self.alarm = first.map(|at| {
            let wait = Duration::from_secs(at).saturating_sub(self.born.elapsed());
            (at, ctx.run_later(wait, Self::wake))
        });
    }

    fn wake(&mut self, ctx: &mut Context<Self>) {
        let past = self.alarm.take().map_or(0, |(at, _)| at);
        self.times.retain(|at| *at > past);
        self.set_alarm(ctx);
        self.look(ctx);
    }
}

impl Actor for Courier {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.listen(self.ctx.bell.rings(), ctx);
        self.look(ctx);
        ctx.run_interval(EVERY, Self::look);
    }
}

impl Handler<End> for Courier {
    type Result = ();

    fn handle(&mut self, _: End, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Rang(Result<Follower<()>>);

impl Handler<Rang> for Courier {
    type Result = ();

    fn handle(&mut self, Rang(rings): Rang, ctx: &mut Self::Context) {
        self.listen(rings.unwrap_or_else(|_| self.ctx.bell.rings()), ctx);
        self.look(ctx);
        // What the bell rang for may not be in the index yet.
        let delay = self.ctx.store.index_delay();
        if !delay.is_zero() {
            self.look_after(delay, ctx);
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
struct Looked {
    number: u64,
    result: Result<Sent>,
}

impl Handler<Looked> for Courier {
    type Result = ();

    fn handle(&mut self, Looked { number, result }: Looked, ctx: &mut Self::Context) {
        self.looks.remove(&number);
        match result {
            Ok(sent) => {
                self.is_wanted |= sent.has_more;
                for wait in sent.again {
                    self.look_after(wait, ctx);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "what is due could not be sent; trying again");
                self.look_after(AGAIN_AFTER, ctx);
            }
        }
        if std::mem::take(&mut self.is_wanted) {
            self.look(ctx);
        }
    }
}
