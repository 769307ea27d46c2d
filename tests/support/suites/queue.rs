//! The promises of the queue port.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use listbackup_engine::{
    ErrorKind,
    ports::{Message, Queue, QueueDepth, QueueName},
};
use serde_json::{Value, json};

use crate::support::{Subject, pass};

const AT_ONCE: Duration = Duration::ZERO;
const SECOND: Duration = Duration::from_secs(1);
const QUEUE: QueueName = QueueName::Jobs;

/// How many promises there are.
pub const PROMISES: usize = 13;

/// A queue under test.
pub struct Delivering {
    pub queue: Arc<dyn Queue>,
    /// The visibility of the messages that the tests receive, at least some seconds.
    pub visibility: Duration,
    /// A time in which that is not over, however slow the machine.
    pub meanwhile: Duration,
    /// The delay of a message that is to come later.
    pub delay: Duration,
    /// Where waiting for the end of many visibilities takes too long, messages are given back instead.
    pub gives_back: bool,
    /// What this queue is known to do otherwise.
    pub known: Known,
}

/// Where a stand-in does not do what the service does.
#[derive(Clone, Copy, Default)]
pub struct Known {
    /// Any receipt that a message ever had counts as that of its present delivery.
    pub takes_old_receipts: bool,
    /// Messages come in the order in which they were sent, whoever's they are.
    pub has_no_turns: bool,
    /// How old the oldest message is, is told elsewhere. So does SQS itself.
    pub tells_no_age: bool,
    /// Two that ask at the same moment may get one message, as SQS itself allows.
    pub hands_out_twice: bool,
}

/// Every promise, one after another, on a clock that goes as the test wants; the queue is empty before and after each.
pub async fn keeps_all(subject: &Subject) {
    let delivering = Delivering {
        queue: subject.ports.queue.clone(),
        visibility: Duration::from_secs(30),
        meanwhile: Duration::from_secs(29),
        delay: Duration::from_secs(20),
        gives_back: false,
        known: Known::default(),
    };
    for promise in 0..PROMISES {
        delivering.keeps(promise).await;
    }
}

impl Delivering {
    /// One of the promises; the queue is empty before and after it.
    pub async fn keeps(&self, promise: usize) {
        match promise {
            0 => what_is_sent_is_received_and_acknowledged_once(self).await,
            1 => a_message_comes_again_after_its_visibility(self).await,
            2 => extending_hides_longer_and_zero_gives_back(self).await,
            3 => stale_receipts_change_nothing(self).await,
            4 => a_delayed_message_waits(self).await,
            5 => a_waiting_receiver_is_woken_by_a_message(self).await,
            6 => a_waiting_receiver_gives_up_in_time(self).await,
            7 => a_message_that_fails_too_often_is_buried_and_can_come_back(self).await,
            8 => queues_are_apart(self).await,
            9 => many_receivers_share_without_doubles(self).await,
            10 => accounts_take_turns(self).await,
            11 => oversized_messages_are_refused(self).await,
            12 => what_is_in_a_queue_is_counted(self).await,
            _ => panic!("there are {PROMISES} promises"),
        }
    }
}

async fn send(on: &Delivering, bodies: Vec<Value>) -> Vec<String> {
    on.queue.send(QUEUE, bodies, AT_ONCE).await.unwrap()
}

async fn receive(on: &Delivering, max: usize) -> Vec<Message> {
    on.queue.receive(QUEUE, max, on.visibility, AT_ONCE).await.unwrap()
}

async fn receive_one(on: &Delivering) -> Message {
    let mut messages = receive(on, 10).await;
    assert_eq!(messages.len(), 1, "{messages:?}");
    messages.remove(0)
}

async fn acknowledge(on: &Delivering, message: &Message) {
    on.queue.acknowledge(QUEUE, &message.receipt).await.unwrap();
}

async fn visible_again(on: &Delivering, messages: &[Message]) {
    if !on.gives_back {
        return pass(on.visibility + SECOND).await;
    }
    for message in messages {
        on.queue.extend(QUEUE, &message.receipt, AT_ONCE).await.unwrap();
    }
}

async fn what_is_in_a_queue_is_counted(on: &Delivering) {
    assert_eq!(on.queue.depth(QUEUE).await.unwrap(), QueueDepth::default());
    send(on, vec![json!("in hand"), json!("waits")]).await;
    on.queue.send(QUEUE, vec![json!("has time")], on.delay).await.unwrap();
    let [in_hand] = <[Message; 1]>::try_from(receive(on, 1).await).unwrap();
    let depth = on.queue.depth(QUEUE).await.unwrap();
    assert_eq!((depth.visible, depth.hidden, depth.dead), (1, 2, 0), "{depth:?}");
    assert_eq!(depth.oldest.is_none(), on.known.tells_no_age, "{depth:?}");
    acknowledge(on, &in_hand).await;
    let waiting = receive_one(on).await;
    acknowledge(on, &waiting).await;
    pass(on.delay + SECOND).await;
    let late = receive_one(on).await;
    acknowledge(on, &late).await;
    is_empty(on).await;
}

async fn is_empty(on: &Delivering) {
    pass(on.visibility + SECOND).await;
    assert_eq!(receive(on, 10).await, []);
}

async fn what_is_sent_is_received_and_acknowledged_once(on: &Delivering) {
    let bodies = vec![json!({ "n": 1 }), json!({ "n": 2 }), json!({ "n": 3 })];
    let ids = send(on, bodies.clone()).await;
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3, "ids are distinct");
    let mut received = receive(on, 2).await;
    assert_eq!(received.len(), 2, "no more than asked for");
    received.extend(receive(on, 2).await);
    assert_eq!(received.iter().map(|message| &message.id).collect::<BTreeSet<_>>(), ids.iter().collect());
    for message in &received {
        assert_eq!(message.receive_count, 1);
        assert!(bodies.contains(&message.body));
        acknowledge(on, message).await;
    }
    is_empty(on).await;
}

async fn a_message_comes_again_after_its_visibility(on: &Delivering) {
    send(on, vec![json!("again")]).await;
    let first = receive_one(on).await;
    pass(on.meanwhile).await;
    assert_eq!(receive(on, 10).await, [], "hidden meanwhile");
    pass(on.visibility - on.meanwhile + SECOND).await;
    let second = receive_one(on).await;
    assert_eq!((&second.id, &second.body, second.receive_count), (&first.id, &first.body, 2));
    assert_ne!(second.receipt, first.receipt);
    acknowledge(on, &second).await;
    is_empty(on).await;
}

async fn extending_hides_longer_and_zero_gives_back(on: &Delivering) {
    send(on, vec![json!("long")]).await;
    let message = receive_one(on).await;
    for _ in 0..3 {
        pass(on.meanwhile).await;
        on.queue.extend(QUEUE, &message.receipt, on.visibility).await.unwrap();
    }
    assert_eq!(receive(on, 10).await, []);
    on.queue.extend(QUEUE, &message.receipt, Duration::ZERO).await.unwrap();
    let again = receive_one(on).await;
    assert_eq!((again.id.as_str(), again.receive_count), (message.id.as_str(), 2));
    acknowledge(on, &again).await;
    is_empty(on).await;
}

async fn stale_receipts_change_nothing(on: &Delivering) {
    send(on, vec![json!("stale")]).await;
    let first = receive_one(on).await;
    on.queue.extend(QUEUE, &first.receipt, Duration::ZERO).await.unwrap();
    let second = receive_one(on).await;
    if !on.known.takes_old_receipts {
        let refused = on.queue.extend(QUEUE, &first.receipt, Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Fenced);
        acknowledge(on, &first).await;
        assert_eq!(receive(on, 10).await, [], "the stale receipt did not give the message back");
    }
    on.queue.extend(QUEUE, &second.receipt, on.visibility).await.unwrap();
    acknowledge(on, &second).await;
    acknowledge(on, &second).await;
    let gone = on.queue.extend(QUEUE, &second.receipt, on.visibility).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Fenced);
    is_empty(on).await;
}

async fn a_delayed_message_waits(on: &Delivering) {
    on.queue.send(QUEUE, vec![json!("later")], on.delay).await.unwrap();
    pass(on.delay / 2).await;
    assert_eq!(receive(on, 10).await, []);
    // A receiver that waits gets it when its time comes, though nobody sends anything.
    let waited = on.queue.receive(QUEUE, 10, on.visibility, Duration::from_secs(20)).await.unwrap();
    assert_eq!(waited.len(), 1);
    acknowledge(on, &waited[0]).await;
    is_empty(on).await;
}

async fn a_waiting_receiver_is_woken_by_a_message(on: &Delivering) {
    let receiver = {
        let (queue, visibility) = (on.queue.clone(), on.visibility);
        tokio::spawn(async move { queue.receive(QUEUE, 10, visibility, Duration::from_secs(20)).await.unwrap() })
    };
    pass(Duration::from_secs(5)).await;
    let started = tokio::time::Instant::now();
    send(on, vec![json!("wake")]).await;
    let received = receiver.await.unwrap();
    assert_eq!(received.len(), 1);
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
    acknowledge(on, &received[0]).await;
    is_empty(on).await;
}

async fn a_waiting_receiver_gives_up_in_time(on: &Delivering) {
    let started = tokio::time::Instant::now();
    assert_eq!(on.queue.receive(QUEUE, 10, on.visibility, Duration::from_secs(3)).await.unwrap(), []);
    let waited = started.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(5)).contains(&waited), "waited {waited:?}");
}

async fn a_message_that_fails_too_often_is_buried_and_can_come_back(on: &Delivering) {
    let ids = send(on, vec![json!("poison"), json!("venom")]).await;
    let mut last = Vec::new();
    for delivery in 1..=5 {
        let received = receive(on, 10).await;
        assert_eq!(received.iter().map(|message| message.receive_count).collect::<Vec<_>>(), [delivery, delivery]);
        last = received;
        visible_again(on, &last).await;
    }
    assert_eq!(receive(on, 10).await, [], "the sixth time it is not delivered");
    let dead = on.queue.dead_letters(QUEUE, None, 10).await.unwrap();
    assert_eq!(on.queue.depth(QUEUE).await.unwrap().dead, dead.len() as u64);
    assert_eq!(dead.iter().map(|letter| letter.id.clone()).collect::<BTreeSet<_>>(), ids.into_iter().collect());
    assert!(dead.iter().all(|letter| letter.receive_count == 5));
    let (first, second) = (&dead[0], &dead[1]);
    assert_eq!(on.queue.dead_letters(QUEUE, None, 1).await.unwrap(), dead[..1]);
    assert_eq!(on.queue.dead_letters(QUEUE, Some(&first.id), 10).await.unwrap(), dead[1..]);
    assert_eq!(on.queue.dead_letters(QUEUE, Some(&second.id), 10).await.unwrap(), []);

    assert!(!on.queue.redrive(QUEUE, "msg_unknown").await.unwrap());
    for letter in &dead {
        assert!(on.queue.redrive(QUEUE, &letter.id).await.unwrap());
        assert!(!on.queue.redrive(QUEUE, &letter.id).await.unwrap(), "it is gone from there");
    }
    assert_eq!(on.queue.dead_letters(QUEUE, None, 10).await.unwrap(), []);
    let back = receive(on, 10).await;
    assert_eq!(back.iter().map(|message| message.receive_count).collect::<Vec<_>>(), [1, 1]);
    for message in &last {
        let refused = on.queue.extend(QUEUE, &message.receipt, on.visibility).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Fenced, "a receipt from before is stale");
        acknowledge(on, message).await;
    }
    for message in &back {
        on.queue.extend(QUEUE, &message.receipt, on.visibility).await.unwrap();
        acknowledge(on, message).await;
    }
    is_empty(on).await;
}

async fn queues_are_apart(on: &Delivering) {
    on.queue.send(QueueName::Data, vec![json!("data")], AT_ONCE).await.unwrap();
    assert_eq!(receive(on, 10).await, []);
    let received = on.queue.receive(QueueName::Data, 10, on.visibility, AT_ONCE).await.unwrap();
    assert_eq!(received.len(), 1);
    acknowledge(on, &received[0]).await;
    on.queue.extend(QueueName::Data, &received[0].receipt, on.visibility).await.unwrap();
    on.queue.acknowledge(QueueName::Data, &received[0].receipt).await.unwrap();
}

async fn many_receivers_share_without_doubles(on: &Delivering) {
    let receivers: Vec<_> = (0..8)
        .map(|_| {
            let (queue, visibility) = (on.queue.clone(), on.visibility);
            tokio::spawn(async move {
                let mut seen = Vec::new();
                loop {
                    let got = queue.receive(QUEUE, 3, visibility, Duration::from_secs(2)).await.unwrap();
                    if got.is_empty() {
                        return seen;
                    }
                    for message in got {
                        queue.acknowledge(QUEUE, &message.receipt).await.unwrap();
                        seen.push(message.body.as_u64().unwrap());
                    }
                }
            })
        })
        .collect();
    for start in (0..100).step_by(10) {
        send(on, (start..start + 10).map(|n| json!(n)).collect()).await;
    }
    let mut seen = Vec::new();
    for receiver in receivers {
        seen.extend(receiver.await.unwrap());
    }
    seen.sort_unstable();
    if on.known.hands_out_twice {
        seen.dedup();
    }
    assert_eq!(seen, (0..100).collect::<Vec<u64>>());
    is_empty(on).await;
}

async fn accounts_take_turns(on: &Delivering) {
    let of = |account: &str, n: u32| json!({ "accountId": account, "n": n });
    send(on, (0..50).map(|n| of("busy", n)).collect()).await;
    send(on, vec![of("early", 0), of("quiet", 0), json!({ "n": 0 })]).await;
    let mut told = Vec::new();
    for _ in 0..2 {
        for message in receive(on, 4).await {
            told.push(message.body.get("accountId").and_then(Value::as_str).unwrap_or("nobody's").to_owned());
            acknowledge(on, &message).await;
        }
    }
    told.sort();
    let is_fair = told == ["busy", "busy", "busy", "busy", "busy", "early", "nobody's", "quiet"];
    assert!(is_fair || on.known.has_no_turns, "{told:?}");
    let mut left = Vec::new();
    loop {
        let messages = receive(on, 10).await;
        if messages.is_empty() {
            break;
        }
        for message in &messages {
            left.push(message.body["n"].as_u64());
            acknowledge(on, message).await;
        }
    }
    assert_eq!(left.len(), 45, "none is lost");
    is_empty(on).await;
}

async fn oversized_messages_are_refused(on: &Delivering) {
    let bodies = vec![json!("small"), json!("x".repeat(256 * 1024))];
    let refused = on.queue.send(QUEUE, bodies, AT_ONCE).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    is_empty(on).await;
}
