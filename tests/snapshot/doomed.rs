//! Collections that are open for ever: candidates, a rescue, and a sweeper that died. And one step of a collection.

use std::sync::Arc;

use listbackup_engine::{
    ports::Blobs,
    snapshot::{
        AccountStore, AttachmentsWriter, NewAttachment, SnapshotStore, SourceStore, WriterSpec, paths,
        retain::{Collectable, Collection, LiveRuns},
    },
};

use crate::{
    retain::{GRACE, Hands},
    store::{World, page, run_id, scope, stream},
    tapped::{Call, Tapped, When},
};

/// A run that failed left two segments; a live run needs one of them again; the sweeper dies.
pub async fn leave_a_collection_open(world: &World, (account, source): (u8, u8), store: &SourceStore, clock: &Hands) {
    let mut checkpoints = Vec::new();
    for body in ["{\"id\":1,\"needed\":true}", "{\"id\":1,\"needed\":false}", "{\"id\":1,\"needed\":true}"] {
        let spec = WriterSpec { stream: stream("strays", 1), run_id: run_id(90), parent: None, resume: None };
        let mut writer = store.stream_writer(spec).await.unwrap();
        writer.push(page([(vec!["1"], body, false)])).await.unwrap();
        checkpoints.push(writer.checkpoint().await.unwrap());
        if checkpoints.len() == 2 {
            let live = LiveRuns { runs: [run_id(89)].into(), ..LiveRuns::default() };
            advance(store, clock, live).await.unwrap();
        }
    }
    let last = checkpoints.pop().unwrap();
    store.put_checkpoint(run_id(90), 1, 0, &last).await.unwrap();
    clock.advance(GRACE);
    let dying = world.source_over(dying_at_delete(world, ".seg"), account, source).await.unwrap();
    let live = LiveRuns { segments: last.segments().collect(), ..LiveRuns::default() };
    advance(&dying, clock, live).await.unwrap_err();
}

/// One step of a collection, as a worker takes it.
pub async fn advance(store: &SourceStore, clock: &Hands, live: LiveRuns) -> listbackup_engine::Result<()> {
    let look = || -> futures::future::BoxFuture<'_, _> { Box::pin(async { Ok(live.clone()) }) };
    let (store, by) = (store.clone(), "test".to_owned());
    let what = Collectable::Segments(store);
    Collection { what, live: &look, clock, grace: GRACE, is_sole_worker: true, by }.advance().await.map(drop)
}

/// The same for the packs of an account.
pub async fn advance_packs(account: &AccountStore, clock: &Hands, live: LiveRuns) -> listbackup_engine::Result<()> {
    let look = || -> futures::future::BoxFuture<'_, _> { Box::pin(async { Ok(live.clone()) }) };
    let (what, by) = (Collectable::Packs(account.clone()), "test".to_owned());
    Collection { what, live: &look, clock, grace: GRACE, is_sole_worker: true, by }.advance().await.map(drop)
}

/// The same with packs: two that are left behind, one of which is needed again.
pub async fn leave_packs_doomed(world: &World, (account, source): (u8, u8), store: &SourceStore, clock: &Hands) {
    let spec = stream("strays", 1);
    let owner = world.store().account(&scope(account)).await.unwrap();
    for body in [1, 2, 1u8] {
        let mut writer = AttachmentsWriter::open(store, &spec, run_id(91), None, None).await.unwrap();
        let mut sink = writer.sink();
        sink.push(&[source * 10 + body; 500]).await.unwrap();
        let content = sink.finish().await.unwrap();
        let new = NewAttachment {
            record: "1".to_owned(),
            attachment: "stray".to_owned(),
            name: "stray".to_owned(),
            media_type: None,
            version: None,
        };
        writer.add(new, content).await.unwrap();
        writer.checkpoint().await.unwrap();
        if body == 2 {
            let live = LiveRuns { runs: [run_id(89)].into(), ..LiveRuns::default() };
            advance_packs(&owner, clock, live).await.unwrap();
        }
    }
    clock.advance(GRACE);
    let dying = dying_at_delete(world, ".pack");
    let dying = SnapshotStore::new(dying, world.keys.clone(), world.settings.clone());
    let dying = dying.account(&scope(account)).await.unwrap();
    advance_packs(&dying, clock, LiveRuns::default()).await.unwrap_err();
}

/// The objects for a process that dies when it deletes one of a kind.
fn dying_at_delete(world: &World, ending: &'static str) -> Arc<dyn Blobs> {
    let tap = move |_: When, call: &Call| -> futures::future::BoxFuture<'static, listbackup_engine::Result<()>> {
        let dies = call.name == "delete" && call.path.ends_with(ending);
        let gone = || listbackup_engine::Error::new(listbackup_engine::ErrorKind::Retry, "the process is gone");
        Box::pin(async move { if dies { Err(gone()) } else { Ok(()) } })
    };
    Arc::new(Tapped { inner: world.blobs.clone(), tap: Box::new(tap) })
}

/// True when a list of packs has this one.
pub async fn is_listed(world: &World, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap().strip_suffix(".pack").unwrap();
    let account = world.store().account(&scope(1)).await.unwrap();
    let lists: Vec<String> = world.blobs.objects().keys().filter(|path| path.ends_with(".packs")).cloned().collect();
    for list in lists.iter().filter(|list| list.starts_with(&paths::account(scope(1).account_id()))) {
        let text = account.document(list).await.unwrap();
        if String::from_utf8(text).unwrap().contains(name) {
            return true;
        }
    }
    false
}
