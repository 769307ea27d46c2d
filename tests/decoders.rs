//! Decoders of stored bytes meet everything: arbitrary bytes, and the plaintext of real objects with bytes changed, cut, copied
//! and swapped. They never panic, and never take more memory than the bytes can stand for.
//!
//! The plaintext comes from the golden files, opened here after FORMAT.md alone.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
};
use listbackup_engine::{
    adapters::embedded::key_file,
    snapshot::decoders::{ALL, Decoder, decode},
};
use proptest::prelude::*;

const GOLDEN: &str = "tests/snapshot/golden/v2";

/// What a decoder may take at once for each byte that it was given: a key of the greatest size, of which all but two bytes are
/// those of the key before, in a vector that grows.
const BYTES_PER_BYTE: usize = 2 * 4096;
/// And beside that: the greatest chunk, or a text of a document as large as the door lets through.
const BYTES_AT_MOST: usize = 5 << 20;

/// Notes the greatest allocation of each thread.
struct Watched;

thread_local! {
    static GREATEST: Cell<usize> = const { Cell::new(0) };
}

fn note(size: usize) {
    // A thread that ends has none any more.
    let _ = GREATEST.try_with(|greatest| greatest.set(greatest.get().max(size)));
}

// SAFETY: everything is the system's allocator; noting a number allocates nothing.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Decodes; panics when that takes too much memory.
fn feed(decoder: Decoder, bytes: &[u8]) -> bool {
    GREATEST.set(0);
    let is_taken = decode(decoder, bytes);
    let greatest = GREATEST.get();
    let bound = BYTES_AT_MOST + bytes.len() * BYTES_PER_BYTE;
    assert!(greatest <= bound, "{decoder:?} took {greatest} bytes at once for {}: {bytes:02x?}", bytes.len());
    is_taken
}

/// The data keys of the golden files, by epoch.
fn data_keys() -> BTreeMap<u32, [u8; 32]> {
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("master.key");
    fs::copy(Path::new(GOLDEN).join("master.key"), &file).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let master = key_file(&file).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let keys = objects("key").into_iter().map(|(path, object)| {
        let account = path.split('/').nth(1).unwrap();
        let epoch = path.rsplit('/').next().unwrap().split('.').next().unwrap().parse().unwrap();
        let wrapped = &object[9..9 + usize::from(object[8])];
        let key = runtime.block_on(master.unwrap(&format!("account={account};epoch={epoch}"), wrapped)).unwrap();
        (epoch, *key)
    });
    keys.collect()
}

/// The golden objects of one kind by their paths.
fn objects(ending: &str) -> Vec<(String, Vec<u8>)> {
    let root = Path::new(GOLDEN).join("objects");
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|known| known == ending) {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read(path).unwrap()));
            }
        }
    }
    found
}

struct Bytes32;

impl KeyType for Bytes32 {
    fn len(&self) -> usize {
        32
    }
}

/// Opens a sealed part under the key that follows from a data key, a label and a context; `None` when it belongs elsewhere.
fn open(
    data_key: &[u8; 32],
    (label, context): (&str, &[u8]),
    (section, number): (u8, u32),
    place: &[u8],
    sealed: &[u8],
) -> Option<Vec<u8>> {
    let prk = Salt::new(HKDF_SHA256, b"listbackup 1").extract(data_key);
    let mut key = [0; 32];
    prk.expand(&[&[label.len() as u8], label.as_bytes(), context], Bytes32).unwrap().fill(&mut key).unwrap();
    let mut nonce = [section, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    nonce[8..].copy_from_slice(&number.to_be_bytes());
    let mut text = sealed.to_vec();
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut text).ok()?;
    text.truncate(sealed.len() - 16);
    Some(text)
}

/// What a part of an object is opened with.
struct Parts<'a> {
    data_key: [u8; 32],
    label: &'static str,
    id: Vec<u8>,
    place: Vec<u8>,
    object: &'a [u8],
    end: u64,
}

impl<'a> Parts<'a> {
    /// Of a segment or pack whose trailer says where its index is.
    fn of(keys: &BTreeMap<u32, [u8; 32]>, label: &'static str, path: &str, stream: &str, object: &'a [u8]) -> Self {
        let trailer = &object[object.len() - 28..];
        let epoch = u32::from_le_bytes(trailer[12..16].try_into().unwrap());
        let name = path.rsplit('/').next().unwrap().split('.').next().unwrap();
        let id = (0..40).step_by(2).map(|at| u8::from_str_radix(&name[at..at + 2], 16).unwrap()).collect();
        let mut place = [format!("listbackup {label} 1").as_bytes(), b"\0", path.as_bytes()].concat();
        if !stream.is_empty() {
            place.extend([b"\0", stream.as_bytes()].concat());
        }
        let end = u64::from_le_bytes(trailer[..8].try_into().unwrap());
        Self { data_key: keys[&epoch], label, id, place, object, end }
    }

    fn part(&self, section: u8, start: usize, len: usize) -> Vec<u8> {
        open(&self.data_key, (self.label, &self.id), (section, 0), &self.place, &self.object[start..][..len]).unwrap()
    }

    /// The opened index with its offset in front; `None` for that of another stream.
    fn index(&self, section: u8) -> Option<Vec<u8>> {
        let trailer = &self.object[self.object.len() - 28..];
        let place = [&self.place[..], trailer].concat();
        let sealed = &self.object[self.end as usize..self.object.len() - 28];
        let text = open(&self.data_key, (self.label, &self.id), (section, 0), &place, sealed)?;
        Some([&self.end.to_le_bytes()[..], &text].concat())
    }
}

fn varint(bytes: &mut &[u8]) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
}

/// Plaintext of every kind of which stored objects have some.
fn examples() -> Vec<(Decoder, Vec<u8>)> {
    let keys = data_keys();
    let mut all = Vec::new();
    for (path, object) in objects("seg") {
        let streams = ["contacts", "orders", "notes", "strays", "contacts@attachments", "strays@attachments"];
        // Only the name of its stream opens it.
        let opened = streams.iter().find_map(|stream| {
            let parts = Parts::of(&keys, "segment", &path, stream, &object);
            parts.index(3).map(|index| (index, parts))
        });
        let (index, parts) = opened.expect("it is of one of the streams");
        // Stream, run, level, greatest key, number of blocks, least key, size of the first block.
        let mut rest = &index[8..];
        let len = varint(&mut rest);
        rest = &rest[len + 20..];
        let len = varint(&mut rest);
        rest = &rest[len..];
        varint(&mut rest);
        let len = varint(&mut rest);
        rest = &rest[len..];
        let (sealed, raw) = (varint(&mut rest), varint(&mut rest));
        let block = zstd::bulk::decompress(&parts.part(1, 0, sealed), raw).unwrap();
        all.extend([(Decoder::Block, block), (Decoder::SegmentFooter, index)]);
        all.push((Decoder::SegmentTrailer, object[object.len() - 28..].to_vec()));
    }
    for (path, object) in objects("pack") {
        let parts = Parts::of(&keys, "pack", &path, "", &object);
        let index = parts.index(7).unwrap();
        let mut rest = &index[8..];
        varint(&mut rest);
        rest = &rest[20..];
        let (sealed, plain) = (varint(&mut rest), varint(&mut rest));
        let chunk = [&(plain as u32).to_le_bytes()[..], &parts.part(6, 0, sealed)].concat();
        let trailer = [&(object.len() as u64).to_le_bytes()[..], &object[object.len() - 28..]].concat();
        all.extend([(Decoder::Chunk, chunk), (Decoder::PackIndex, index), (Decoder::PackTrailer, trailer)]);
    }
    for ending in ["snap", "forgotten", "mark", "collected", "checkpoint", "verification", "drill"] {
        for (path, object) in objects(ending) {
            let epoch = u32::from_le_bytes(object[8..12].try_into().unwrap());
            let place = [&object[..44], path.as_bytes()].concat();
            let text = open(&keys[&epoch], ("document", &object[12..44]), (4, 0), &place, &object[44..]).unwrap();
            let json = zstd::bulk::decompress(&text, 1 << 20).unwrap();
            all.extend([(Decoder::DocumentHeader, object), (Decoder::DocumentText, text), (Decoder::Document, json)]);
        }
    }
    all.extend(objects("key").into_iter().map(|(_, object)| (Decoder::DataKey, object)));
    let texts: [(Decoder, &[u8]); 7] = [
        (Decoder::Fingerprints, &[7; 28]),
        (Decoder::Key, b"\x11\0\x0212\x20a\0\xff\0\x40aaaaaaaaaaaaaaaa"),
        (Decoder::KeyText, b"[1,\"two\",{\"three\":[3]}]"),
        (Decoder::Filter, b"a.b>=10\n{\"a\":{\"b\":10.5}}"),
        (Decoder::Json, b"{\"a\":[1,-0.5e3,\"\\ud800\"],\"b\":{\"c\":null}}"),
        (Decoder::SeenSet, b"\0\0\0\0KLUv/SAAAQAA"),
        (Decoder::Document, b"{\"record\":\"1\",\"attachment\":\"a\",\"name\":\"n\",\"sizeBytes\":1,\"digest\":\"\",\"content\":{\"depth\":0,\"packs\":[],\"chunks\":[]}}"),
    ];
    all.extend(texts.map(|(decoder, bytes)| (decoder, bytes.to_vec())));
    all
}

#[test]
fn every_decoder_takes_a_real_example() {
    let examples = examples();
    for decoder in ALL {
        let own: Vec<&Vec<u8>> = examples.iter().filter(|(of, _)| *of == decoder).map(|(_, bytes)| bytes).collect();
        assert!(!own.is_empty(), "{decoder:?} has no example");
        let refused: Vec<_> = own.into_iter().filter(|bytes| !feed(decoder, bytes)).collect();
        assert!(refused.is_empty(), "{decoder:?} refuses {refused:02x?}");
    }
    // What a fuzzer begins with.
    if let Some(folder) = std::env::var_os("LISTBACKUP_FUZZ_SEEDS") {
        fs::create_dir_all(&folder).unwrap();
        for (number, (decoder, bytes)) in examples.iter().enumerate() {
            let first = ALL.iter().position(|of| of == decoder).unwrap() as u8;
            fs::write(Path::new(&folder).join(number.to_string()), [&[first][..], bytes].concat()).unwrap();
        }
    }
}

/// A change of some bytes.
#[derive(Clone, Debug)]
enum Change {
    Set(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Swap(prop::sample::Index, prop::sample::Index),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let index = any::<prop::sample::Index>;
    let byte = prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0x7f), Just(0x80)];
    let change = prop_oneof![
        6 => (index(), byte).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => index().prop_map(Change::Cut),
        2 => (index(), prop::collection::vec(any::<u8>(), 1..12)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        1 => (index(), index()).prop_map(|(a, b)| Change::Swap(a, b)),
    ];
    prop::collection::vec(change, 1..6)
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes.iter().cloned() {
        if bytes.is_empty() {
            return bytes;
        }
        let len = bytes.len();
        match change {
            Change::Set(at, byte) => bytes[at.index(len)] = byte,
            Change::Cut(at) => bytes.truncate(at.index(len)),
            Change::Insert(at, more) => drop(bytes.splice(at.index(len)..at.index(len), more)),
            Change::Swap(a, b) => bytes.swap(a.index(len), b.index(len)),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic_and_take_no_more_memory_than_they_may(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        for decoder in ALL {
            feed(decoder, &bytes);
        }
    }
}

#[test]
fn changed_objects_never_panic_and_take_no_more_memory_than_they_may() {
    let examples = examples();
    let mut runner =
        proptest::test_runner::TestRunner::new(ProptestConfig { cases: 1500, ..ProptestConfig::default() });
    let outcome = runner.run(&changes(), |changes| {
        for (decoder, bytes) in &examples {
            feed(*decoder, &changed(bytes.clone(), &changes));
        }
        Ok(())
    });
    outcome.unwrap();
}
