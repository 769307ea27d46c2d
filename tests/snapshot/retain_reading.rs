//! Reading beside those who let go of snapshots.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    retain::{Hands, assert_sound, forget, snapshots},
    store::{World, small_settings, snapshot_id},
    tapped::{Call, Tapped, When},
};

#[tokio::test]
async fn a_snapshot_that_is_forgotten_while_its_chain_is_read_is_no_damage() {
    let (world, clock) = (World::new(small_settings()), Arc::new(Hands::new()));
    let store = world.source(1, 1).await.unwrap();
    let made = snapshots(&store, 3).await;
    let is_due = Arc::new(AtomicBool::new(true));
    let tap = {
        let (store, clock, is_due) = (store.clone(), clock.clone(), is_due.clone());
        move |when, call: &Call| -> futures::future::BoxFuture<'static, listbackup_engine::Result<()>> {
            // Its tombstone was looked for, its manifest is read next.
            let is_now = when == When::Before
                && (call.name, call.path.ends_with(&format!("{}.snap", snapshot_id(1)))) == ("get", true)
                && is_due.swap(false, Ordering::SeqCst);
            let (store, clock) = (store.clone(), clock.clone());
            Box::pin(async move {
                if is_now {
                    forget(&store, &clock, snapshot_id(1), snapshot_id(2)).await;
                }
                Ok(())
            })
        }
    };
    let tapped = Tapped { inner: world.blobs.clone(), tap: Box::new(tap) };
    let reading = world.source_over(Arc::new(tapped), 1, 1).await.unwrap();
    assert_eq!(assert_sound(&reading, &made[2]).await, (2, 1));
    assert!(!is_due.load(Ordering::SeqCst), "it was forgotten meanwhile");
}
