//! Signals to scale a fleet by, as metrics: how much waits, how long, and how much of what a worker can do it does.

use std::{sync::Arc, time::Duration};

use listbackup_engine::{actors::Roles, ports::QueueName, run::RunContext};
use tokio::time::{MissedTickBehavior, interval};

/// How often they are set.
const EVERY: Duration = Duration::from_secs(15);

/// Sets them for ever: those of a worker where runs are carried out, those of the queues where it is looked what is due.
pub async fn keep(ctx: Arc<RunContext>, roles: Roles) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if roles.work() {
            metrics::gauge!("listbackup_slots").set(ctx.settings.slots as f64);
            metrics::gauge!("listbackup_runs_live").set(ctx.places.live() as f64);
        }
        if roles.schedule() {
            for queue in [QueueName::Jobs, QueueName::Data] {
                tell_queue(&ctx, queue).await;
            }
        }
    }
}

async fn tell_queue(ctx: &RunContext, queue: QueueName) {
    let name = queue.as_str();
    match ctx.ports.queue.depth(queue).await {
        Ok(depth) => {
            for (state, count) in [("visible", depth.visible), ("hidden", depth.hidden), ("dead", depth.dead)] {
                metrics::gauge!("listbackup_queue_messages", "queue" => name, "state" => state).set(count as f64);
            }
            // Where the service does not tell it, there is no such metric.
            if let Some(oldest) = depth.oldest.or((depth.visible + depth.hidden == 0).then_some(Duration::ZERO)) {
                metrics::gauge!("listbackup_queue_oldest_seconds", "queue" => name).set(oldest.as_secs_f64());
            }
        }
        Err(error) => tracing::warn!(%error, queue = name, "it could not be told how much is in a queue"),
    }
}
