//! The promises of the queue port.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use listbackup_engine::{
    ErrorKind,
    ports::{Message, Queue, QueueName},
};
use serde_json::{Value, json};

use crate::support::{Subject, pass};

const VISIBILITY: Duration = Duration::from_secs(30);
const AT_ONCE: Duration = Duration::ZERO;
const QUEUE: QueueName = QueueName::Jobs;

/// Every promise, one after another; the queue is empty before and after each.
pub async fn keeps_all(subject: &Subject) {
    let queue = &subject.ports.queue;
    what_is_sent_is_received_and_acknowledged_once(queue).await;
    a_message_comes_again_after_its_visibility(queue).await;
    extending_hides_longer_and_zero_gives_back(queue).await;
    stale_receipts_change_nothing(queue).await;
    a_delayed_message_waits(queue).await;
    a_waiting_receiver_is_woken_by_a_message(queue).await;
    a_waiting_receiver_gives_up_in_time(queue).await;
    a_message_that_fails_too_often_is_buried_and_can_come_back(queue).await;
    queues_are_apart(queue).await;
    many_receivers_share_without_doubles(queue).await;
    accounts_take_turns(queue).await;
    oversized_messages_are_refused(queue).await;
}

async fn send(queue: &Arc<dyn Queue>, bodies: Vec<Value>) -> Vec<String> {
    queue.send(QUEUE, bodies, AT_ONCE).await.unwrap()
}

async fn receive(queue: &Arc<dyn Queue>, max: usize) -> Vec<Message> {
    queue.receive(QUEUE, max, VISIBILITY, AT_ONCE).await.unwrap()
}

async fn receive_one(queue: &Arc<dyn Queue>) -> Message {
    let mut messages = receive(queue, 10).await;
    assert_eq!(messages.len(), 1, "{messages:?}");
    messages.remove(0)
}

async fn acknowledge(queue: &Arc<dyn Queue>, message: &Message) {
    queue.acknowledge(QUEUE, &message.receipt).await.unwrap();
}

async fn is_empty(queue: &Arc<dyn Queue>) {
    pass(2 * VISIBILITY).await;
    assert_eq!(receive(queue, 10).await, []);
}

async fn what_is_sent_is_received_and_acknowledged_once(queue: &Arc<dyn Queue>) {
    let bodies = vec![json!({ "n": 1 }), json!({ "n": 2 }), json!({ "n": 3 })];
    let ids = send(queue, bodies.clone()).await;
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3, "ids are distinct");
    let mut received = receive(queue, 2).await;
    assert_eq!(received.len(), 2, "no more than asked for");
    received.extend(receive(queue, 2).await);
    assert_eq!(received.iter().map(|message| &message.id).collect::<BTreeSet<_>>(), ids.iter().collect());
    for message in &received {
        assert_eq!(message.receive_count, 1);
        assert!(bodies.contains(&message.body));
        acknowledge(queue, message).await;
    }
    is_empty(queue).await;
}

async fn a_message_comes_again_after_its_visibility(queue: &Arc<dyn Queue>) {
    send(queue, vec![json!("again")]).await;
    let first = receive_one(queue).await;
    pass(VISIBILITY - Duration::from_secs(1)).await;
    assert_eq!(receive(queue, 10).await, [], "hidden meanwhile");
    pass(Duration::from_secs(2)).await;
    let second = receive_one(queue).await;
    assert_eq!((&second.id, &second.body, second.receive_count), (&first.id, &first.body, 2));
    assert_ne!(second.receipt, first.receipt);
    acknowledge(queue, &second).await;
    is_empty(queue).await;
}

async fn extending_hides_longer_and_zero_gives_back(queue: &Arc<dyn Queue>) {
    send(queue, vec![json!("long")]).await;
    let message = receive_one(queue).await;
    for _ in 0..3 {
        pass(VISIBILITY - Duration::from_secs(5)).await;
        queue.extend(QUEUE, &message.receipt, VISIBILITY).await.unwrap();
    }
    assert_eq!(receive(queue, 10).await, []);
    queue.extend(QUEUE, &message.receipt, Duration::ZERO).await.unwrap();
    let again = receive_one(queue).await;
    assert_eq!((again.id.as_str(), again.receive_count), (message.id.as_str(), 2));
    acknowledge(queue, &again).await;
    is_empty(queue).await;
}

async fn stale_receipts_change_nothing(queue: &Arc<dyn Queue>) {
    send(queue, vec![json!("stale")]).await;
    let first = receive_one(queue).await;
    queue.extend(QUEUE, &first.receipt, Duration::ZERO).await.unwrap();
    let second = receive_one(queue).await;
    let refused = queue.extend(QUEUE, &first.receipt, Duration::ZERO).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    acknowledge(queue, &first).await;
    assert_eq!(receive(queue, 10).await, [], "the stale receipt did not give the message back");
    queue.extend(QUEUE, &second.receipt, VISIBILITY).await.unwrap();
    acknowledge(queue, &second).await;
    acknowledge(queue, &second).await;
    let gone = queue.extend(QUEUE, &second.receipt, VISIBILITY).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Fenced);
    is_empty(queue).await;
}

async fn a_delayed_message_waits(queue: &Arc<dyn Queue>) {
    queue.send(QUEUE, vec![json!("later")], Duration::from_secs(20)).await.unwrap();
    pass(Duration::from_secs(15)).await;
    assert_eq!(receive(queue, 10).await, []);
    // A receiver that waits gets it when its time comes, though nobody sends anything.
    let waited = queue.receive(QUEUE, 10, VISIBILITY, Duration::from_secs(20)).await.unwrap();
    assert_eq!(waited.len(), 1);
    acknowledge(queue, &waited[0]).await;
    is_empty(queue).await;
}

async fn a_waiting_receiver_is_woken_by_a_message(queue: &Arc<dyn Queue>) {
    let receiver = {
        let queue = queue.clone();
        tokio::spawn(async move { queue.receive(QUEUE, 10, VISIBILITY, Duration::from_secs(20)).await.unwrap() })
    };
    pass(Duration::from_secs(5)).await;
    let started = tokio::time::Instant::now();
    send(queue, vec![json!("wake")]).await;
    let received = receiver.await.unwrap();
    assert_eq!(received.len(), 1);
    assert!(started.elapsed() < Duration::from_secs(5), "took {:?}", started.elapsed());
    acknowledge(queue, &received[0]).await;
    is_empty(queue).await;
}

async fn a_waiting_receiver_gives_up_in_time(queue: &Arc<dyn Queue>) {
    let started = tokio::time::Instant::now();
    assert_eq!(queue.receive(QUEUE, 10, VISIBILITY, Duration::from_secs(3)).await.unwrap(), []);
    let waited = started.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(5)).contains(&waited), "waited {waited:?}");
}

async fn a_message_that_fails_too_often_is_buried_and_can_come_back(queue: &Arc<dyn Queue>) {
    let ids = send(queue, vec![json!("poison"), json!("venom")]).await;
    let mut last = Vec::new();
    for delivery in 1..=5 {
        let received = receive(queue, 10).await;
        assert_eq!(received.iter().map(|message| message.receive_count).collect::<Vec<_>>(), [delivery, delivery]);
        last = received;
        pass(VISIBILITY + Duration::from_secs(1)).await;
    }
    assert_eq!(receive(queue, 10).await, [], "the sixth time it is not delivered");
    let dead = queue.dead_letters(QUEUE, None, 10).await.unwrap();
    assert_eq!(dead.iter().map(|letter| letter.id.clone()).collect::<BTreeSet<_>>(), ids.into_iter().collect());
    assert!(dead.iter().all(|letter| letter.receive_count == 5));
    let (first, second) = (&dead[0], &dead[1]);
    assert_eq!(queue.dead_letters(QUEUE, None, 1).await.unwrap(), dead[..1]);
    assert_eq!(queue.dead_letters(QUEUE, Some(&first.id), 10).await.unwrap(), dead[1..]);
    assert_eq!(queue.dead_letters(QUEUE, Some(&second.id), 10).await.unwrap(), []);

    assert!(!queue.redrive(QUEUE, "msg_unknown").await.unwrap());
    for letter in &dead {
        assert!(queue.redrive(QUEUE, &letter.id).await.unwrap());
        assert!(!queue.redrive(QUEUE, &letter.id).await.unwrap(), "it is gone from there");
    }
    assert_eq!(queue.dead_letters(QUEUE, None, 10).await.unwrap(), []);
    let back = receive(queue, 10).await;
    assert_eq!(back.iter().map(|message| message.receive_count).collect::<Vec<_>>(), [1, 1]);
    for message in &last {
        let refused = queue.extend(QUEUE, &message.receipt, VISIBILITY).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Fenced, "a receipt from before is stale");
        acknowledge(queue, message).await;
    }
    for message in &back {
        queue.extend(QUEUE, &message.receipt, VISIBILITY).await.unwrap();
        acknowledge(queue, message).await;
    }
    is_empty(queue).await;
}

async fn queues_are_apart(queue: &Arc<dyn Queue>) {
    queue.send(QueueName::Data, vec![json!("data")], AT_ONCE).await.unwrap();
    assert_eq!(receive(queue, 10).await, []);
    let received = queue.receive(QueueName::Data, 10, VISIBILITY, AT_ONCE).await.unwrap();
    assert_eq!(received.len(), 1);
    acknowledge(queue, &received[0]).await;
    queue.extend(QueueName::Data, &received[0].receipt, VISIBILITY).await.unwrap();
    queue.acknowledge(QueueName::Data, &received[0].receipt).await.unwrap();
}

async fn many_receivers_share_without_doubles(queue: &Arc<dyn Queue>) {
    let receivers: Vec<_> = (0..8)
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                loop {
                    let got = queue.receive(QUEUE, 3, VISIBILITY, Duration::from_secs(2)).await.unwrap();
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
        send(queue, (start..start + 10).map(|n| json!(n)).collect()).await;
    }
    let mut seen = Vec::new();
    for receiver in receivers {
        seen.extend(receiver.await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<u64>>());
    is_empty(queue).await;
}

async fn accounts_take_turns(queue: &Arc<dyn Queue>) {
    let of = |account: &str, n: u32| json!({ "accountId": account, "n": n });
    send(queue, (0..50).map(|n| of("busy", n)).collect()).await;
    send(queue, vec![of("early", 0), of("quiet", 0), json!({ "n": 0 })]).await;
    let mut told = Vec::new();
    for _ in 0..2 {
        for message in receive(queue, 4).await {
            told.push(message.body.get("accountId").and_then(Value::as_str).unwrap_or("nobody's").to_owned());
            acknowledge(queue, &message).await;
        }
    }
    told.sort();
    assert_eq!(told, ["busy", "busy", "busy", "busy", "busy", "early", "nobody's", "quiet"]);
    let mut left = Vec::new();
    loop {
        let messages = receive(queue, 10).await;
        if messages.is_empty() {
            break;
        }
        for message in &messages {
            left.push(message.body["n"].as_u64());
            acknowledge(queue, message).await;
        }
    }
    assert_eq!(left.len(), 45, "none is lost");
    is_empty(queue).await;
}

async fn oversized_messages_are_refused(queue: &Arc<dyn Queue>) {
    let bodies = vec![json!("small"), json!("x".repeat(256 * 1024))];
    let refused = queue.send(QUEUE, bodies, AT_ONCE).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    is_empty(queue).await;
}
