//! The promise of `snapshot/chunks`: a gigabyte of attachments is cut, hashed, compressed, sealed and stored within 4 CPU
//! seconds, and the same gigabyte once more within 2, storing nothing.
//!
//! Half of it does not compress, as photos and archives do not; half is text. The objects are kept in memory, so that only
//! our own work is measured.

#[path = "../tests/support/store.rs"]
#[allow(dead_code, reason = "a test kit, of which a bench needs a part")]
mod store;

use std::process::ExitCode;

use listbackup_engine::snapshot::{AttachmentsWriter, NewAttachment, StoreSettings};

use crate::store::{World, end, run_id, stream};

/// Size of one attachment in bytes, and how many there are.
const FILE_BYTES: usize = 16 << 20;
const FILES: u64 = 60;
const GB: f64 = 1e9;
const FIRST_MAX_S_PER_GB: f64 = 4.0;
const AGAIN_MAX_S_PER_GB: f64 = 2.0;

/// User and system time of this process so far, in seconds.
fn cpu_s() -> f64 {
    // Fields 14 and 15, in hundredths of a second, after the name in brackets.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].into_iter().filter_map(|i| fields.get(i)?.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn content(number: u64) -> Vec<u8> {
    let mut bytes = vec![0; FILE_BYTES];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut bytes);
    if number % 2 == 1 {
        let letters = b"etaoin shrdlu cmfwyp vbgkjqxz ETAOIN\n";
        bytes.iter_mut().for_each(|byte| *byte = letters[usize::from(*byte) % letters.len()]);
    }
    bytes
}

/// Stores all; CPU seconds and bytes stored. Making the contents is not counted.
async fn store_all(world: &World) -> (f64, u64) {
    let store = world.source(1, 1).await.expect("a store");
    let mut writer =
        AttachmentsWriter::open(&store, &stream("files", 1), run_id(1), None, None).await.expect("a writer");
    let mut spent_s = 0.0;
    for number in 0..FILES {
        let bytes = content(number);
        let began_s = cpu_s();
        let mut sink = writer.sink();
        for piece in bytes.chunks(64 << 10) {
            sink.push(piece).await.expect("room");
        }
        let taken = sink.finish().await.expect("room");
        let new = NewAttachment {
            record: number.to_string(),
            attachment: "0".to_owned(),
            name: "file".to_owned(),
            media_type: None,
            version: None,
        };
        writer.add(new, taken).await.expect("room");
        spent_s += cpu_s() - began_s;
    }
    let began_s = cpu_s();
    let finished = writer.finish(end(true)).await.expect("room");
    (spent_s + cpu_s() - began_s, finished.figures.bytes_stored)
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let world = World::new(StoreSettings::default());
    let mut is_met = true;
    for (name, max_s) in [("first", FIRST_MAX_S_PER_GB), ("again", AGAIN_MAX_S_PER_GB)] {
        let (cpu_s, stored) = runtime.block_on(store_all(&world));
        let s_per_gb = cpu_s / (FILES as f64 * FILE_BYTES as f64 / GB);
        println!("{name}: {s_per_gb:.2} CPU s per GB (at most {max_s}), {stored} bytes stored");
        is_met &= s_per_gb <= max_s;
    }
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
