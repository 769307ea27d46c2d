//! Decompressing blocks in memory that is used again. A block takes half a megabyte for a moment only; to get it from the
//! system and to give it back each time costs more than to decompress it.

use std::{
    io,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use zstd::bulk::Decompressor;

/// So many blocks' memory is kept between uses.
const SPARE_MAX: usize = 4;
/// Larger blocks are the exception, and their memory is not kept; in bytes.
const SPARE_BYTES_MAX: usize = 1 << 20;

static SPARE_TEXTS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static SPARE_DECOMPRESSORS: Mutex<Vec<Decompressor<'static>>> = Mutex::new(Vec::new());

/// The text of a block, whose memory is kept for the next one when nobody holds the text any more.
struct Text(Vec<u8>);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        if self.0.capacity() <= SPARE_BYTES_MAX {
            keep(&SPARE_TEXTS, std::mem::take(&mut self.0));
        }
    }
}

fn take<T>(spare: &Mutex<Vec<T>>) -> Option<T> {
    spare.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn keep<T>(spare: &Mutex<Vec<T>>, used: T) {
    let mut spare = spare.lock().unwrap_or_else(PoisonError::into_inner);
    if spare.len() < SPARE_MAX {
        spare.push(used);
    }
}

/// Decompresses a block that takes `raw_bytes`, at most.
///
/// # Errors
/// When the frame is damaged or takes more.
pub(super) fn unpack(frame: &[u8], raw_bytes: usize) -> io::Result<Bytes> {
    let mut text = take(&SPARE_TEXTS).unwrap_or_default();
    text.clear();
    text.reserve_exact(raw_bytes);
    let mut text = Text(text);
    let mut decompressor = take(&SPARE_DECOMPRESSORS).map_or_else(Decompressor::new, Ok)?;
    let outcome = decompressor.decompress_to_buffer(frame, &mut text.0);
    keep(&SPARE_DECOMPRESSORS, decompressor);
    // Memory that is used again may have room for more.
    if outcome? > raw_bytes {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the block is larger than it may be"));
    }
    Ok(Bytes::from_owner(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_what_it_is_while_others_come_and_go_in_memory_that_is_used_again() {
        let texts: Vec<Vec<u8>> = (0..20u8).map(|byte| vec![byte; 1000 * usize::from(byte) + 1]).collect();
        let frames: Vec<Vec<u8>> = texts.iter().map(|text| zstd::bulk::compress(text, 1).unwrap()).collect();
        for _ in 0..3 {
            let held: Vec<Bytes> =
                frames.iter().zip(&texts).map(|(frame, text)| unpack(frame, text.len()).unwrap()).collect();
            assert!(held.iter().zip(&texts).all(|(found, text)| found == text));
        }
    }

    #[test]
    fn a_frame_that_takes_more_than_it_may_is_refused() {
        let small = zstd::bulk::compress(&[1; 10], 1).unwrap();
        let large = zstd::bulk::compress(&vec![1; 2_000_000], 1).unwrap();
        // Memory of the large one must not be at hand for a frame that says it is small.
        assert_eq!(unpack(&large, 2_000_000).unwrap().len(), 2_000_000);
        assert!(unpack(&large, 10).is_err());
        assert!(unpack(&small[..small.len() - 1], 10).is_err());
        assert_eq!(unpack(&small, 10).unwrap(), [1; 10][..]);
    }
}
