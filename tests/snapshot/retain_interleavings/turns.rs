//! Whose turn it is: every step of the two waits for it.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use listbackup_engine::{Result, ports::Blobs};
use tokio::sync::{Notify, oneshot};

use super::COLLECTOR;
use crate::{
    store::World,
    tapped::{Call, Tapped, When},
};

/// Who waits for a turn, and what each has seen.
#[derive(Default)]
pub struct Stage {
    pub waiting: [Option<oneshot::Sender<()>>; 2],
    pub seen: [String; 2],
    pub done: [bool; 2],
}

/// Gives turns.
#[derive(Clone, Default)]
pub struct Turns(pub Arc<(Mutex<Stage>, Notify)>);

impl Turns {
    /// Waits for the actor's turn.
    pub async fn step(&self, actor: usize) {
        let (permit, turn) = oneshot::channel();
        let before = self.0.0.lock().unwrap().waiting[actor].replace(permit);
        assert!(before.is_none(), "an actor takes one step at a time");
        self.0.1.notify_one();
        turn.await.expect("the test gives every turn");
    }

    pub fn saw(&self, actor: usize, what: &str) {
        self.0.0.lock().unwrap().seen[actor].push_str(what);
    }

    pub fn end(&self, actor: usize) {
        self.0.0.lock().unwrap().done[actor] = true;
        self.0.1.notify_one();
    }

    /// Waits until nobody moves by themselves; the actors that can take a step.
    pub async fn settled(&self) -> Vec<usize> {
        loop {
            {
                let stage = self.0.0.lock().unwrap();
                if (0..2).all(|actor| stage.done[actor] || stage.waiting[actor].is_some()) {
                    return (0..2).filter(|actor| !stage.done[*actor]).collect();
                }
            }
            self.0.1.notified().await;
        }
    }

    pub fn give(&self, actor: usize) {
        let permit = self.0.0.lock().unwrap().waiting[actor].take().expect("it waits");
        permit.send(()).expect("it waits");
    }

    pub fn tapped(&self, world: &World, actor: usize) -> Arc<dyn Blobs> {
        let turns = self.clone();
        let tap = move |when, call: &Call| -> BoxFuture<'static, Result<()>> {
            let (turns, is_own) = (turns.clone(), actor == COLLECTOR && reads_its_own(call));
            if when == When::After && !is_own {
                turns.saw(actor, &call.found);
            }
            Box::pin(async move {
                if when == When::Before && !is_own {
                    turns.step(actor).await;
                }
                Ok(())
            })
        };
        Arc::new(Tapped { inner: world.blobs.clone(), tap: Box::new(tap) })
    }
}

/// True when the collector reads what only the collector writes, or what never changes: its order among the writer's steps
/// makes no difference.
fn reads_its_own(call: &Call) -> bool {
    let is_read = matches!(call.name, "get" | "size" | "retained_until");
    is_read || call.name == "list" && call.path.contains("/collected/")
}
