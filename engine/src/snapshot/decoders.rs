//! Every decoder of stored bytes and of keys behind one door, for the fuzz target in `fuzz/` and the test that feeds them the
//! same way. Not part of the interface: hidden, but always there, so that what is fuzzed is what runs, without a cargo feature
//! and without a switch of the compiler that only one kind of build sets.

use bytes::Bytes;

use super::{
    Filter, Manifest, RecordKey, StoredAttachment, StreamCheckpoint, VerifyProgress,
    attachments::PackList,
    chunks, document, json, keys,
    lookup::SeenSet,
    retain::{Collected, Mark, Tombstone},
    seal::{self, DocumentHeader},
    segment::{Block, FingerprintTable, Footer, Trailer},
    signature::Signed,
};

/// No text of a document is decompressed to more, in bytes: the program itself allows more.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// What the bytes are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoder {
    /// The last bytes of a segment.
    SegmentTrailer,
    /// The opened footer of a segment; its offset (u64) in front.
    SegmentFooter,
    /// A block, opened and decompressed.
    Block,
    /// An opened chunk of fingerprints.
    Fingerprints,
    /// The head of a document.
    DocumentHeader,
    /// The opened text of a document, as a zstd frame.
    DocumentText,
    /// The JSON text of a document of any kind.
    Document,
    /// A wrapped data key with its sealed root.
    DataKey,
    /// The last bytes of a pack; the size of the object (u64) in front.
    PackTrailer,
    /// The opened index of a pack; its offset (u64) in front.
    PackIndex,
    /// An opened chunk of content; its plain size (u32) in front.
    Chunk,
    /// An encoded record key.
    Key,
    /// The text of a key.
    KeyText,
    /// A condition on records, a line feed and the body of a record.
    Filter,
    /// JSON as records hold it.
    Json,
    /// The entries that a checkpoint has seen; their number (u32) in front.
    SeenSet,
}

/// All of them.
pub const ALL: [Decoder; 16] = [
    Decoder::SegmentTrailer,
    Decoder::SegmentFooter,
    Decoder::Block,
    Decoder::Fingerprints,
    Decoder::DocumentHeader,
    Decoder::DocumentText,
    Decoder::Document,
    Decoder::DataKey,
    Decoder::PackTrailer,
    Decoder::PackIndex,
    Decoder::Chunk,
    Decoder::Key,
    Decoder::KeyText,
    Decoder::Filter,
    Decoder::Json,
    Decoder::SeenSet,
];

/// Decodes, and goes through what came out. True when the bytes were taken for what they should be.
pub fn decode(decoder: Decoder, bytes: &[u8]) -> bool {
    match decoder {
        Decoder::SegmentTrailer => Trailer::epoch_in(bytes).is_some(),
        Decoder::SegmentFooter => footer(bytes).is_some(),
        Decoder::Block => block(bytes).is_some(),
        Decoder::Fingerprints => {
            let table = FingerprintTable::new(Bytes::copy_from_slice(bytes));
            table.is_ok_and(|table| (0..table.len()).all(|i| table.get(i).to_row() == table.rows()[i]))
        }
        Decoder::DocumentHeader => DocumentHeader::read(bytes).is_ok(),
        Decoder::DocumentText => seal::decompress(bytes, TEXT_BYTES_MAX).is_some_and(|text| is_document(&text)),
        Decoder::Document => is_document(bytes),
        Decoder::DataKey => keys::is_shaped(bytes),
        Decoder::PackTrailer => with_u64(bytes).is_some_and(|(size, rest)| chunks::is_trailer(rest, size)),
        Decoder::PackIndex => with_u64(bytes).is_some_and(|(offset, rest)| chunks::is_index(rest, offset)),
        Decoder::Chunk => with_u32(bytes).is_some_and(|(size, rest)| chunks::is_chunk(rest, size)),
        Decoder::Key => key(bytes).is_some(),
        Decoder::KeyText => str::from_utf8(bytes).is_ok_and(is_key_text),
        Decoder::Filter => filter(bytes).is_some(),
        Decoder::Json => {
            let mut canonical = Vec::new();
            let _ = json::value_end(bytes, 0);
            let _ = json::one_line(bytes);
            json::canonicalise(bytes, &mut canonical).is_some() && json::is_same_content(bytes, &canonical)
        }
        Decoder::SeenSet => with_u32(bytes).is_some_and(|(entries, rest)| {
            str::from_utf8(rest).is_ok_and(|text| SeenSet::from_text(text, entries).is_ok())
        }),
    }
}

fn with_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u64::from_le_bytes(*number), rest))
}

fn with_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk().map(|(number, rest)| (u32::from_le_bytes(*number), rest))
}

/// Whatever a footer says can be asked for.
fn footer(bytes: &[u8]) -> Option<()> {
    let (offset, rest) = with_u64(bytes)?;
    let footer = Footer::decode(rest, offset).ok()?;
    let _ = (footer.records(), footer.tombstones(), footer.body_bytes());
    let keys = footer.blocks.iter().map(|block| &block.first_key).chain([&footer.last_key]);
    for key in keys {
        let block = footer.block_of(key.as_bytes());
        let _ = block.is_some_and(|block| footer.is_in_block(block, key.as_bytes()));
    }
    for chunk in &footer.chunks {
        let _ =
            (chunk.sealed_bytes(), footer.block_of_entry(chunk.first_entry), footer.chunk_of_entry(chunk.first_entry));
    }
    Some(())
}

fn block(bytes: &[u8]) -> Option<()> {
    let block = Block::decode(Bytes::copy_from_slice(bytes)).ok()?;
    for i in 0..block.len() {
        let _ = (block.body(i), block.places(i), block.before(i), block.find(block.key(i)));
    }
    let _ = (block.is_sorted(), block.memory_bytes());
    Some(())
}

fn is_document(text: &[u8]) -> bool {
    let attachment = StoredAttachment::from_body(text);
    let is_known = [
        document::parse::<Manifest>(text).is_ok(),
        document::parse::<Tombstone>(text).is_ok(),
        document::parse::<Mark>(text).is_ok(),
        document::parse::<Collected>(text).is_ok(),
        document::parse::<StreamCheckpoint>(text).is_ok(),
        document::parse::<VerifyProgress>(text).is_ok(),
        document::parse::<Signed>(text).is_ok(),
        document::parse::<PackList>(text).is_ok(),
        attachment.is_ok(),
    ];
    is_known.contains(&true)
}

/// A key that is read back from its text and its parts.
fn key(bytes: &[u8]) -> Option<()> {
    let key = RecordKey::from_encoded(bytes.to_vec()).ok()?;
    let arity = key.parts().ok()?.len();
    let _ = (key.to_json(), RecordKey::parse(&key.to_string(), arity));
    Some(())
}

fn is_key_text(text: &str) -> bool {
    (0..4).filter(|arity| RecordKey::candidates(text, *arity).is_ok()).count() > 0
}

fn filter(bytes: &[u8]) -> Option<()> {
    let at = memchr::memchr(b'\n', bytes)?;
    let filter: Filter = str::from_utf8(&bytes[..at]).ok()?.parse().ok()?;
    filter.matches(&bytes[at + 1..]).then_some(())
}
