//! Another master key: whenever it is cut off, the master key of that moment opens everything, the same again finishes it, and then
//! the old one opens nothing.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use async_trait::async_trait;
use listbackup_engine::{
    Error, ErrorKind, Result,
    ports::{Blobs, DataKey, Keys},
    snapshot::{KeyRange, LoadedManifest, SnapshotStore, paths, retain::Act},
};
use zeroize::Zeroizing;

use crate::{
    store::{MemoryBlobs, back_up, page, scope, small_settings, source_id},
    tapped::{Call, Tapped, When},
};

/// A master key with a number; wrapped keys differ each time, as those of real ones do.
struct Master {
    number: u8,
    count: AtomicU8,
}

fn master(number: u8) -> Arc<dyn Keys> {
    Arc::new(Master { number, count: AtomicU8::new(1) })
}

fn sum(bytes: &[u8], context: &str) -> [u8; 8] {
    bytes.iter().chain(context.as_bytes()).fold(7u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte)).to_le_bytes()
}

#[async_trait]
impl Keys for Master {
    async fn generate(&self, context: &str) -> Result<DataKey> {
        let plain = Zeroizing::new([self.count.fetch_add(1, Ordering::Relaxed) ^ self.number; 32]);
        Ok(DataKey { wrapped: self.wrap(context, &plain).await?, plain })
    }

    async fn wrap(&self, context: &str, plain: &[u8; 32]) -> Result<Vec<u8>> {
        let head = [&[self.number, self.count.fetch_add(1, Ordering::Relaxed)], &plain[..]].concat();
        Ok([&head[..], &sum(&head, context)].concat())
    }

    async fn unwrap(&self, context: &str, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        let refused = || Error::new(ErrorKind::Corrupt, "wrapped with another master key");
        let (head, check) = wrapped.split_at_checked(34).ok_or_else(refused)?;
        if head[0] != self.number || check != sum(head, context) {
            return Err(refused());
        }
        Ok(Zeroizing::new(head[2..].try_into().unwrap()))
    }
}

fn process(blobs: Arc<dyn Blobs>, keys: &Arc<dyn Keys>) -> SnapshotStore {
    SnapshotStore::new(blobs, keys.clone(), small_settings())
}

/// Two snapshots under two epochs.
async fn stored(keys: &Arc<dyn Keys>) -> (Arc<MemoryBlobs>, [LoadedManifest; 2]) {
    let blobs = Arc::<MemoryBlobs>::default();
    let process = process(blobs.clone(), keys);
    let store = process.source(&scope(1), source_id(1)).await.unwrap();
    let records = |edit: u32| {
        let body = |id: u32| format!("{{\"id\":{id},\"edit\":{}}}", if id == 3 { edit } else { 0 });
        let texts: Vec<(String, String)> = (0..40).map(|id| (id.to_string(), body(id))).collect();
        vec![page(texts.iter().map(|(id, body)| (vec![&**id], &**body, false)))]
    };
    let (first, _) = back_up(&store, (1, 1, 1), None, records(0)).await;
    process.rotate_key(&scope(1)).await.unwrap();
    let store = process.source(&scope(1), source_id(1)).await.unwrap();
    let (second, _) = back_up(&store, (1, 1, 2), Some(&first), records(1)).await;
    (blobs, [first, second])
}

/// Reads all of it as a new process does.
async fn read(blobs: &Arc<MemoryBlobs>, keys: &Arc<dyn Keys>, made: &[LoadedManifest]) -> Result<()> {
    let store = process(blobs.clone(), keys).source(&scope(1), source_id(1)).await?;
    for (loaded, edit) in made.iter().zip(0..) {
        let again = store.load(loaded.manifest.snapshot_id).await?;
        let page = store.reader(&again.manifest).browse("contacts", &KeyRange::default(), &[], 100).await?;
        assert_eq!(page.records.len(), 40);
        let third: serde_json::Value = serde_json::from_slice(&page.records[3].body).unwrap();
        assert_eq!(third["edit"], edit);
    }
    Ok(())
}

fn key_objects(blobs: &MemoryBlobs) -> Vec<String> {
    let prefix = paths::keys(scope(1).account_id());
    blobs.objects().keys().filter_map(|path| path.strip_prefix(&prefix).map(str::to_owned)).collect()
}

/// Lets a process die at its call number `at`, before or after its effect.
fn dying(blobs: &Arc<MemoryBlobs>, at: u64) -> Arc<dyn Blobs> {
    let calls = AtomicU64::new(0);
    let tap = move |_: When, _: &Call| -> futures::future::BoxFuture<'static, Result<()>> {
        let is_dead = calls.fetch_add(1, Ordering::Relaxed) >= at;
        let outcome = if is_dead { Err(Error::new(ErrorKind::Retry, "died")) } else { Ok(()) };
        Box::pin(std::future::ready(outcome))
    };
    Arc::new(Tapped { inner: blobs.clone(), tap: Box::new(tap) })
}

/// What the command does to an account. `present` is the directory's master key.
async fn rewrap(blobs: Arc<dyn Blobs>, present: &mut Arc<dyn Keys>, new: &Arc<dyn Keys>) -> Result<()> {
    process(blobs.clone(), present).wrap_keys_anew(&scope(1), &**new).await?;
    present.clone_from(new);
    process(blobs, present).remove_other_key_forms(&scope(1)).await.map(|_| ())
}

#[tokio::test]
async fn wherever_it_is_cut_off_the_present_key_opens_all_and_the_same_again_finishes_it() {
    let (old, new) = (master(1), master(2));
    let (blobs, made) = stored(&old).await;
    let mut cuts = 0;
    for at in 0.. {
        let blobs = blobs.copy();
        let mut present = old.clone();
        let outcome = rewrap(dying(&blobs, at), &mut present, &new).await;
        read(&blobs, &present, &made).await.unwrap();
        if outcome.is_ok() {
            break;
        }
        cuts += 1;
        rewrap(blobs.clone(), &mut present, &new).await.unwrap();
        read(&blobs, &new, &made).await.unwrap();
        assert_eq!(read(&blobs, &old, &made).await.unwrap_err().kind(), ErrorKind::Corrupt, "cut at call {at}");
        assert_eq!(key_objects(&blobs), ["1.1.key", "2.1.key"], "cut at call {at}");
    }
    assert!(cuts > 20, "only {cuts} points");
}

#[tokio::test]
async fn after_it_the_account_goes_on_as_before_also_through_rotations_and_further_master_keys() {
    let (old, new, newest) = (master(1), master(2), master(3));
    let (blobs, made) = stored(&old).await;
    let mut present = old.clone();
    rewrap(blobs.clone(), &mut present, &new).await.unwrap();
    let rotation = process(blobs.clone(), &new).rotate_key(&scope(1)).await.unwrap();
    assert_eq!((rotation.from, rotation.to), (2, 3));
    rewrap(blobs.clone(), &mut present, &newest).await.unwrap();
    assert_eq!(key_objects(&blobs), ["1.2.key", "2.2.key", "3.1.key"]);
    read(&blobs, &newest, &made).await.unwrap();
    for gone in [&old, &new] {
        assert_eq!(read(&blobs, gone, &made).await.unwrap_err().kind(), ErrorKind::Corrupt);
    }
    // Once more with the key that is there already: nothing to do.
    let process = process(blobs.clone(), &newest);
    assert_eq!(process.wrap_keys_anew(&scope(1), &*newest).await.unwrap(), 0);
    assert_eq!(process.remove_other_key_forms(&scope(1)).await.unwrap(), 0);
    let act = Act::new("grace", "the customer left", jiff::Timestamp::UNIX_EPOCH);
    assert_eq!(process.decide_to_destroy_keys(&scope(1), act).await.unwrap().keys, 3);
    assert_eq!(process.destroy_keys(&scope(1)).await.unwrap(), 3);
    assert_eq!(key_objects(&blobs), ["destroyed"]);
}

#[tokio::test]
async fn destroying_between_two_master_keys_leaves_no_form_of_any_key() {
    let (old, new) = (master(1), master(2));
    let (blobs, _) = stored(&old).await;
    let here = process(blobs.clone(), &old);
    assert_eq!(here.wrap_keys_anew(&scope(1), &*new).await.unwrap(), 2);
    assert_eq!(key_objects(&blobs), ["1.1.key", "1.key", "2.1.key", "2.key"]);
    let act = Act::new("grace", "the customer left", jiff::Timestamp::UNIX_EPOCH);
    here.decide_to_destroy_keys(&scope(1), act).await.unwrap();
    assert_eq!(here.destroy_keys(&scope(1)).await.unwrap(), 2);
    assert_eq!(key_objects(&blobs), ["destroyed"]);
}

#[tokio::test]
async fn a_key_that_the_master_key_does_not_open_stops_it_before_anything_is_lost() {
    let (old, new, other) = (master(1), master(2), master(3));
    let (blobs, made) = stored(&old).await;
    let refused = process(blobs.clone(), &other).wrap_keys_anew(&scope(1), &*new).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    // One of two is wrapped anew: the forms that the new key does not open stay, all of them.
    process(blobs.clone(), &old).wrap_keys_anew(&scope(1), &*new).await.unwrap();
    blobs.objects().remove(&paths::key_form(scope(1).account_id(), 2, 1)).unwrap();
    let refused = process(blobs.clone(), &new).remove_other_key_forms(&scope(1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert_eq!(key_objects(&blobs), ["1.1.key", "1.key", "2.key"]);
    read(&blobs, &old, &made).await.unwrap();
}

#[tokio::test]
async fn a_form_with_any_byte_altered_or_in_another_place_opens_nothing() {
    let (old, new) = (master(1), master(2));
    let (blobs, made) = stored(&old).await;
    let mut present = old.clone();
    rewrap(blobs.clone(), &mut present, &new).await.unwrap();
    let path = |epoch| paths::key_form(scope(1).account_id(), epoch, 1);
    let whole = blobs.objects()[&path(2)].clone();
    for at in 0..whole.len() {
        let mut altered = whole.to_vec();
        altered[at] ^= 1;
        blobs.objects().insert(path(2), altered.into());
        let refused = read(&blobs, &new, &made).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corrupt, "byte {at}");
        assert!(refused.to_string().contains(&path(2)), "byte {at}: {refused}");
    }
    let moved = blobs.objects()[&path(1)].clone();
    blobs.objects().insert(path(2), moved);
    assert_eq!(read(&blobs, &new, &made).await.unwrap_err().kind(), ErrorKind::Corrupt);
    blobs.objects().insert(path(2), whole);
    read(&blobs, &new, &made).await.unwrap();
}
