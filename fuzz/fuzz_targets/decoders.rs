//! Feeds every decoder of stored bytes and keys. The first byte says which decoder gets the rest.

#![no_main]

use libfuzzer_sys::fuzz_target;
use listbackup_engine::snapshot::decoders::{ALL, decode};

fuzz_target!(|bytes: &[u8]| {
    if let Some((first, rest)) = bytes.split_first() {
        decode(ALL[usize::from(*first) % ALL.len()], rest);
    }
});
