//! Dispatch: durable messages and rows a second on the embedded stores, one after another and many at once.
//!
//! `cargo bench --bench dispatch` prints one line a figure. Every figure counts work that was durable when it was
//! counted; the directory is a temporary one, so that the disk is that of the machine's temporary files.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use listbackup_engine::{
    adapters::embedded::{EmbeddedStores, OpenMode},
    model::scope::SystemScope,
    ports::{Condition, Ports, QueueName, Write},
    tables::SOURCES,
};
use serde_json::{Map, Value, json};

const WRITERS: usize = 64;
const PER_WRITER: usize = 200;
const ALONE: usize = 500;
const BATCH: usize = 10;
const VISIBILITY: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let stores = EmbeddedStores::open(directory.path(), OpenMode::Write).expect("embedded stores");
    let ports = Arc::new(stores.ports());

    row_writes(&ports, 1, ALONE).await;
    row_writes(&ports, WRITERS, PER_WRITER).await;
    sends(&ports, 1, ALONE).await;
    drain(&ports, 1, 1).await;
    sends(&ports, WRITERS, PER_WRITER).await;
    drain(&ports, WRITERS, BATCH).await;
    start_latency(&ports).await;
}

async fn row_writes(ports: &Arc<Ports>, writers: usize, each: usize) {
    let started = Instant::now();
    in_parallel(writers, |writer| {
        let ports = ports.clone();
        async move {
            let system = SystemScope::of_this_process();
            for n in 0..each {
                let write = Write::Put { table: &SOURCES, body: source(writer, n), condition: Condition::Any };
                ports.tables.transact((&system).into(), vec![write]).await.expect("a row");
            }
        }
    })
    .await;
    report("row writes", writers, writers * each, started.elapsed());
}

async fn sends(ports: &Arc<Ports>, writers: usize, each: usize) {
    let started = Instant::now();
    in_parallel(writers, |writer| {
        let ports = ports.clone();
        async move {
            for n in 0..each {
                let body = json!({ "writer": writer, "n": n });
                ports.queue.send(QueueName::Jobs, vec![body], Duration::ZERO).await.expect("a message");
            }
        }
    })
    .await;
    report("messages sent", writers, writers * each, started.elapsed());
}

/// Receives and acknowledges everything.
async fn drain(ports: &Arc<Ports>, workers: usize, batch: usize) {
    let started = Instant::now();
    let counts = in_parallel(workers, |_| {
        let ports = ports.clone();
        async move {
            let mut count = 0;
            loop {
                let got = ports.queue.receive(QueueName::Jobs, batch, VISIBILITY, Duration::ZERO).await;
                let got = got.expect("a delivery");
                if got.is_empty() {
                    return count;
                }
                count += got.len();
                let acknowledged = got.iter().map(|message| ports.queue.acknowledge(QueueName::Jobs, &message.receipt));
                futures::future::try_join_all(acknowledged).await.expect("an acknowledgement");
            }
        }
    })
    .await;
    report(
        &format!("messages received and acknowledged, {batch} at a time"),
        workers,
        counts.iter().sum(),
        started.elapsed(),
    );
}

/// From the call that sends to the moment at which a waiting worker has the message.
async fn start_latency(ports: &Arc<Ports>) {
    let mut taken = Vec::with_capacity(ALONE);
    for n in 0..ALONE {
        let receiver = {
            let ports = ports.clone();
            tokio::spawn(async move {
                let wait = Duration::from_secs(10);
                let got = ports.queue.receive(QueueName::Jobs, 1, VISIBILITY, wait).await.expect("a delivery");
                (Instant::now(), got)
            })
        };
        tokio::time::sleep(Duration::from_millis(1)).await;
        let started = Instant::now();
        ports.queue.send(QueueName::Jobs, vec![json!(n)], Duration::ZERO).await.expect("a message");
        let (arrived, got) = receiver.await.expect("the receiver");
        taken.push(arrived.duration_since(started));
        ports.queue.acknowledge(QueueName::Jobs, &got[0].receipt).await.expect("an acknowledgement");
    }
    taken.sort_unstable();
    println!("start latency: p50 {:?}, p99 {:?}", taken[ALONE / 2], taken[ALONE * 99 / 100]);
}

async fn in_parallel<T, F>(tasks: usize, task: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let handles: Vec<_> = (0..tasks).map(|n| tokio::spawn(task(n))).collect();
    futures::future::join_all(handles).await.into_iter().map(|done| done.expect("a task")).collect()
}

fn source(writer: usize, n: usize) -> Map<String, Value> {
    let Value::Object(body) = json!({
        "accountId": format!("acc_{writer}"), "sourceId": format!("src_{n}"), "integration": "stripe",
        "name": "x".repeat(300),
    }) else {
        return Map::new();
    };
    body
}

fn report(what: &str, writers: usize, count: usize, elapsed: Duration) {
    let per_second = count as f64 / elapsed.as_secs_f64();
    println!("{what}, {writers} at once: {per_second:.0}/s ({count} in {elapsed:.2?})");
}
