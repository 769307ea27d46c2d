//! Messages in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind, Result,
    ports::{Clock, DeadLetter, Message, Queue, QueueDepth, QueueName, Random},
};
use serde_json::Value;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::lock;

const BODY_BYTES_MAX: usize = 256 * 1024;
const DELIVERIES_MAX: u32 = 5;

/// Both queues.
pub struct MemoryQueue {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    state: Mutex<State>,
    arrivals: [Notify; 2],
}

#[derive(Default)]
struct State {
    last: u64,
    messages: BTreeMap<u64, Stored>,
    dead: BTreeMap<u64, Stored>,
    /// Whose message was handed out last, of each queue.
    last_turns: [String; 2],
}

struct Stored {
    queue: QueueName,
    body: Value,
    visible_at_ms: i64,
    receive_count: u32,
    delivery: u64,
    sent_at: Timestamp,
}

impl MemoryQueue {
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { clock, random, state: Mutex::default(), arrivals: Default::default() }
    }

    fn now_ms(&self) -> i64 {
        self.clock.now().as_millisecond()
    }

    fn arrival(&self, queue: QueueName) -> &Notify {
        &self.arrivals[place(queue)]
    }

    fn announce(&self, queue: QueueName, messages: usize) {
        (0..messages).for_each(|_| self.arrival(queue).notify_one());
    }

    /// What is visible now, or when something will be.
    fn receive_now(
        &self,
        queue: QueueName,
        max: usize,
        visibility: Duration,
    ) -> std::result::Result<Vec<Message>, Option<i64>> {
        let (now_ms, mut state) = (self.now_ms(), lock(&self.state));
        let mut received = Vec::new();
        for (account, id) in in_turns(&state, queue, now_ms) {
            if received.len() == max {
                break;
            }
            let Some(mut stored) = state.messages.remove(&id) else { continue };
            state.last_turns[place(queue)] = account;
            if stored.receive_count >= DELIVERIES_MAX {
                state.dead.insert(id, stored);
                continue;
            }
            let mut delivery = [0; 8];
            self.random.fill(&mut delivery);
            stored.delivery = u64::from_le_bytes(delivery);
            stored.receive_count += 1;
            stored.visible_at_ms = now_ms + visibility.as_millis() as i64;
            received.push(Message {
                id: name(id),
                body: stored.body.clone(),
                receipt: format!("{}.{:x}", name(id), stored.delivery),
                receive_count: stored.receive_count,
            });
            state.messages.insert(id, stored);
        }
        if !received.is_empty() {
            return Ok(received);
        }
        Err(state.messages.values().filter(|stored| stored.queue == queue).map(|stored| stored.visible_at_ms).min())
    }
}

fn place(queue: QueueName) -> usize {
    usize::from(queue == QueueName::Data)
}

/// What is visible, the longest visible of each account first; accounts take turns, beginning after the last one.
fn in_turns(state: &State, queue: QueueName, now_ms: i64) -> Vec<(String, u64)> {
    let mut accounts: BTreeMap<String, Vec<(i64, u64)>> = BTreeMap::new();
    for (id, stored) in &state.messages {
        if stored.queue == queue && stored.visible_at_ms <= now_ms {
            let account = stored.body.get("accountId").and_then(Value::as_str).unwrap_or_default();
            accounts.entry(account.to_owned()).or_default().push((stored.visible_at_ms, *id));
        }
    }
    let last = &state.last_turns[place(queue)];
    let mut turns = Vec::new();
    for (account, mut messages) in accounts {
        messages.sort_unstable();
        let is_before = account <= *last;
        turns.extend(messages.iter().enumerate().map(|(turn, (_, id))| (turn, is_before, account.clone(), *id)));
    }
    turns.sort_unstable();
    turns.into_iter().map(|(_, _, account, id)| (account, id)).collect()
}

fn name(id: u64) -> String {
    format!("msg_{id:016x}")
}

fn id_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix("msg_")?, 16).ok()
}

/// The delivered message that a receipt stands for.
fn delivered(state: &State, queue: QueueName, receipt: &str) -> Option<u64> {
    let (name, delivery) = receipt.split_once('.')?;
    let (id, delivery) = (id_of(name)?, u64::from_str_radix(delivery, 16).ok()?);
    let stored = state.messages.get(&id)?;
    let is_it = stored.queue == queue && stored.delivery == delivery && stored.receive_count > 0;
    is_it.then_some(id)
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn send(&self, queue: QueueName, bodies: Vec<Value>, delay: Duration) -> Result<Vec<String>> {
        if bodies.iter().any(|body| body.to_string().len() > BODY_BYTES_MAX) {
            return Err(Error::new(ErrorKind::Invalid, "a message is too large"));
        }
        let (sent_at, mut ids) = (self.clock.now(), Vec::new());
        let mut state = lock(&self.state);
        for body in bodies {
            state.last += 1;
            let (id, visible_at_ms) = (state.last, sent_at.as_millisecond() + delay.as_millis() as i64);
            state.messages.insert(id, Stored { queue, body, visible_at_ms, receive_count: 0, delivery: 0, sent_at });
            ids.push(name(id));
        }
        drop(state);
        self.announce(queue, ids.len());
        Ok(ids)
    }

    async fn receive(
        &self,
        queue: QueueName,
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>> {
        let deadline = Instant::now() + wait;
        loop {
            let next_ms = match self.receive_now(queue, max, visibility) {
                Ok(received) => return Ok(received),
                Err(next_ms) => next_ms,
            };
            if Instant::now() >= deadline || max == 0 {
                return Ok(Vec::new());
            }
            let left = next_ms.map(|next_ms| Duration::from_millis((next_ms - self.now_ms()).max(1) as u64));
            let until = left.map_or(deadline, |left| deadline.min(Instant::now() + left));
            tokio::select! {
                biased;
                () = self.arrival(queue).notified() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    async fn extend(&self, queue: QueueName, receipt: &str, visibility: Duration) -> Result<()> {
        let (now_ms, mut state) = (self.now_ms(), lock(&self.state));
        let id = delivered(&state, queue, receipt);
        let stored = id.and_then(|id| state.messages.get_mut(&id));
        let stored = stored.ok_or_else(|| Error::new(ErrorKind::Fenced, "the message is somebody else's now"))?;
        stored.visible_at_ms = now_ms + visibility.as_millis() as i64;
        drop(state);
        self.announce(queue, 1);
        Ok(())
    }

    async fn acknowledge(&self, queue: QueueName, receipt: &str) -> Result<()> {
        let mut state = lock(&self.state);
        if let Some(id) = delivered(&state, queue, receipt) {
            state.messages.remove(&id);
        }
        Ok(())
    }

    async fn dead_letters(&self, queue: QueueName, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>> {
        let unknown = || Error::new(ErrorKind::Invalid, "this is not the id of a message");
        let after = after.map(|after| id_of(after).ok_or_else(unknown)).transpose()?.unwrap_or(0);
        let state = lock(&self.state);
        let wanted = state.dead.range(after + 1..).filter(|(_, stored)| stored.queue == queue).take(max);
        Ok(wanted
            .map(|(id, stored)| DeadLetter {
                id: name(*id),
                body: stored.body.clone(),
                receive_count: stored.receive_count,
                sent_at: stored.sent_at,
            })
            .collect())
    }

    async fn redrive(&self, queue: QueueName, id: &str) -> Result<bool> {
        let (now_ms, mut state) = (self.now_ms(), lock(&self.state));
        let known = id_of(id).filter(|id| state.dead.get(id).is_some_and(|stored| stored.queue == queue));
        let Some((id, stored)) = known.and_then(|id| Some((id, state.dead.remove(&id)?))) else { return Ok(false) };
        state.messages.insert(id, Stored { visible_at_ms: now_ms, receive_count: 0, delivery: 0, ..stored });
        drop(state);
        self.announce(queue, 1);
        Ok(true)
    }

    async fn depth(&self, queue: QueueName) -> Result<QueueDepth> {
        let (now, state) = (self.clock.now(), lock(&self.state));
        let of_queue = |stored: &&Stored| stored.queue == queue;
        let live: Vec<&Stored> = state.messages.values().filter(of_queue).collect();
        let is_visible = |stored: &&&Stored| stored.visible_at_ms <= now.as_millisecond();
        let visible = live.iter().filter(is_visible).count();
        let oldest = live.iter().map(|stored| stored.sent_at).min();
        Ok(QueueDepth {
            visible: visible as u64,
            hidden: (live.len() - visible) as u64,
            dead: state.dead.values().filter(of_queue).count() as u64,
            oldest: oldest.map(|sent_at| Duration::try_from(now.duration_since(sent_at)).unwrap_or_default()),
        })
    }
}
