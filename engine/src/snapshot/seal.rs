//! Sealing with AES-256-GCM, and sealed documents: small objects (manifests, checkpoints) sealed as a whole.
//!
//! Nothing here draws a nonce at random. Every key of an object is derived from a digest of all that is sealed under it, so
//! that a nonce meets the same key again only with the same plaintext, and writing twice gives the same bytes. The key of a
//! scratch file is drawn for it, and its nonces are its places, each of which is written once.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::codec::Input;
use crate::error::{Error, ErrorKind, Result};

/// Bytes that sealing adds.
pub(crate) const TAG_BYTES: usize = 16;

/// What a sealed part is: the first byte of its nonce and part of what it is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// Records.
    Block = 1,
    /// Rows of fingerprints.
    Fingerprints = 2,
    /// The index of a segment.
    Footer = 3,
    /// A manifest or a checkpoint.
    Document = 4,
    /// The account's root of digests, kept beside a data key.
    Root = 5,
    /// A chunk of content.
    Chunk = 6,
    /// The index of a pack.
    ChunkFooter = 7,
    /// A value in a scratch file, which no other process opens.
    Scratch = 8,
}

/// A key that seals.
pub(crate) struct SealKey(LessSafeKey);

impl SealKey {
    /// From 32 bytes.
    ///
    /// # Errors
    /// `Bug` when the cipher refuses them.
    pub(crate) fn new(key: &[u8; 32]) -> Result<Self> {
        let key = UnboundKey::new(&AES_256_GCM, key).map_err(|_| cipher_fault())?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals `bytes` in place; the last [`TAG_BYTES`] of them are room for the tag.
    pub(crate) fn seal(&self, section: Section, number: u32, place: &[u8], bytes: &mut [u8]) -> Result<()> {
        let Some(len) = bytes.len().checked_sub(TAG_BYTES) else { return Err(cipher_fault()) };
        let (plain, room) = bytes.split_at_mut(len);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(section, number), Aad::from(place), plain)
            .map_err(|_| cipher_fault())?;
        room.copy_from_slice(tag.as_ref());
        Ok(())
    }

    /// Opens what [`SealKey::seal`] made; `None` when it was altered or belongs elsewhere.
    pub(crate) fn open(&self, section: Section, number: u32, place: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
        let len = self.0.open_in_place(nonce(section, number), Aad::from(place), &mut sealed).ok()?.len();
        sealed.truncate(len);
        Some(sealed)
    }
}

fn nonce(section: Section, number: u32) -> Nonce {
    let mut bytes = [0; 12];
    bytes[0] = section as u8;
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn cipher_fault() -> Error {
    Error::new(ErrorKind::Bug, "the cipher refused its input")
}

const DOCUMENT_MAGIC: &[u8; 8] = b"LBKPDOC1";
const DOCUMENT_HEADER_BYTES: usize = 44;
/// No document grows past this when it is opened.
const MAX_DOCUMENT_BYTES: usize = 1 << 30;

/// The clear head of a sealed document.
pub(crate) struct DocumentHeader {
    /// Epoch of the data key.
    pub(crate) epoch: u32,
    /// Keyed digest of the path and the document's compressed text: its key is derived from it.
    pub(crate) digest: [u8; 32],
}

impl DocumentHeader {
    /// As stored in front of the sealed text.
    fn to_bytes(&self) -> [u8; DOCUMENT_HEADER_BYTES] {
        let mut bytes = [0; DOCUMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(DOCUMENT_MAGIC);
        bytes[8..12].copy_from_slice(&self.epoch.to_le_bytes());
        bytes[12..].copy_from_slice(&self.digest);
        bytes
    }

    /// Reads the head of a stored document.
    ///
    /// # Errors
    /// `Corrupt` when it is not one.
    pub(crate) fn read(object: &[u8]) -> Result<Self> {
        let mut input = Input::new(object);
        if input.array::<8>()? != *DOCUMENT_MAGIC {
            return Err(Error::new(ErrorKind::Corrupt, "this is not a sealed document of a known version"));
        }
        Ok(Self { epoch: u32::from_le_bytes(input.array()?), digest: input.array()? })
    }

    /// The epoch that the first bytes of an object name; `None` when it is not a document of this version.
    pub(crate) fn epoch_in(bytes: &[u8]) -> Option<u32> {
        Self::read(bytes.get(..DOCUMENT_HEADER_BYTES)?).ok().map(|header| header.epoch)
    }

    /// What the document is bound to.
    fn place(&self, path: &str) -> Vec<u8> {
        [&self.to_bytes(), path.as_bytes()].concat()
    }
}

/// Seals a compressed document for `path`.
pub(crate) fn seal_document(header: &DocumentHeader, key: &SealKey, path: &str, compressed: &[u8]) -> Result<Vec<u8>> {
    let mut object = Vec::with_capacity(DOCUMENT_HEADER_BYTES + compressed.len() + TAG_BYTES);
    object.extend_from_slice(&header.to_bytes());
    object.extend_from_slice(compressed);
    object.extend_from_slice(&[0; TAG_BYTES]);
    key.seal(Section::Document, 0, &header.place(path), &mut object[DOCUMENT_HEADER_BYTES..])?;
    Ok(object)
}

/// Opens the document stored at `path` and decompresses it.
///
/// # Errors
/// `Corrupt` when it was altered or belongs to another path.
pub(crate) fn open_document(header: &DocumentHeader, key: &SealKey, path: &str, object: &[u8]) -> Result<Vec<u8>> {
    let corrupt = |what: &'static str| Error::new(ErrorKind::Corrupt, what);
    let sealed = object.get(DOCUMENT_HEADER_BYTES..).unwrap_or_default().to_vec();
    let compressed = key
        .open(Section::Document, 0, &header.place(path), sealed)
        .ok_or_else(|| corrupt("the document was altered or belongs elsewhere"))?;
    decompress(&compressed, MAX_DOCUMENT_BYTES).ok_or_else(|| corrupt("the document does not decompress"))
}

/// Decompresses a zstd frame that says its size, at most `max_bytes`.
pub(crate) fn decompress(frame: &[u8], max_bytes: usize) -> Option<Vec<u8>> {
    let size = zstd::zstd_safe::get_frame_content_size(frame).ok()??;
    let size = usize::try_from(size).ok().filter(|size| *size <= max_bytes)?;
    zstd::bulk::decompress(frame, size).ok().filter(|text| text.len() == size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_part_opens_only_in_its_place() {
        let key = SealKey::new(&[7; 32]).unwrap();
        let mut sealed = [b"hello".as_slice(), &[0; TAG_BYTES]].concat();
        key.seal(Section::Block, 3, b"here", &mut sealed).unwrap();
        let open = |key: &SealKey, section, number, place: &[u8]| key.open(section, number, place, sealed.clone());
        assert_eq!(open(&key, Section::Block, 3, b"here").as_deref(), Some(&b"hello"[..]));
        assert_eq!(open(&key, Section::Footer, 3, b"here"), None);
        assert_eq!(open(&key, Section::Block, 4, b"here"), None);
        assert_eq!(open(&key, Section::Block, 3, b"there"), None);
        assert_eq!(open(&SealKey::new(&[8; 32]).unwrap(), Section::Block, 3, b"here"), None);
        assert_eq!(key.open(Section::Block, 3, b"here", vec![1, 2]), None);
    }

    #[test]
    fn every_flipped_or_cut_byte_of_a_document_is_found() {
        let key = SealKey::new(&[7; 32]).unwrap();
        let header = DocumentHeader { epoch: 1, digest: [9; 32] };
        let object = seal_document(&header, &key, "p", &zstd::bulk::compress(b"some text", 3).unwrap()).unwrap();
        let open =
            |object: &[u8], path| DocumentHeader::read(object).and_then(|h| open_document(&h, &key, path, object));
        assert_eq!(open(&object, "p").unwrap(), b"some text");
        assert_eq!(open(&object, "q").unwrap_err().kind(), ErrorKind::Corrupt);
        for at in 0..object.len() {
            let mut bad = object.clone();
            bad[at] ^= 1;
            assert_eq!(open(&bad, "p").unwrap_err().kind(), ErrorKind::Corrupt, "byte {at}");
            assert_eq!(open(&object[..at], "p").unwrap_err().kind(), ErrorKind::Corrupt, "cut at {at}");
        }
    }
}
