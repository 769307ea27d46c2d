//! Upkeep deletes what has ended and nobody asks for any more.

use std::time::Duration;

use listbackup_engine::{
    ErrorKind,
    export::{Export, Format},
    model::{ExportId, RunStatus, UserId},
    run::upkeep,
};

use crate::{
    rules::{STREAM, finished, product},
    world::World,
};

const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_deleted_a_week_after_they_ended_and_no_others() {
    let world = World::new(1, product(10)).await;
    let worker = world.worker();
    let run = finished(&worker, &world.order().await).await;
    assert_eq!(run.status, RunStatus::Succeeded);
    let account = worker.snapshots.account(&world.scope).await.expect("the account");
    let mut ordered = Vec::new();
    for _ in 0..4 {
        let created_at = world.ports.clock.now();
        let export = Export {
            export_id: ExportId::new(&*world.ports.clock, &*world.ports.random),
            source_id: world.source_id,
            snapshot_id: run.snapshot_id.expect("a snapshot"),
            streams: vec![STREAM.to_owned()],
            format: Format::Jsonl,
            is_archive: false,
            user_id: UserId::new(&*world.ports.clock, &*world.ports.random),
            created_at,
            expires_at: Export::end(created_at),
        };
        ordered.push(export.keep(&account).await.expect("kept").export_id);
        world.clock.advance(DAY * 2);
    }
    // 38 days after the first, 36 after the second.
    world.clock.advance(DAY * 30);
    assert_eq!(upkeep::look_after_due(&worker).await.expect("a look"), 1);
    let left = Export::list(&account, None, 10).await.expect("a list");
    let left: Vec<_> = left.iter().map(|export| export.export_id).collect();
    assert_eq!(left, [ordered[3], ordered[2], ordered[1]]);
    let gone = account.load_export::<Export>(ordered[0]).await.expect_err("it is gone");
    assert_eq!(gone.kind(), ErrorKind::NotFound);
    world.clock.advance(DAY * 30);
    upkeep::look_after_due(&worker).await.expect("a look");
    assert!(Export::list(&account, None, 10).await.expect("a list").is_empty());
}
