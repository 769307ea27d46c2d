//! Tokens that let their bearer in: 256 random bits, shown once, kept as a hash.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::ports::Random;

const BYTES: usize = 32;

/// A new token: the prefix, which tells what it is for, and 43 letters that are safe in an address.
pub fn new(prefix: &str, random: &dyn Random) -> SecretString {
    let mut bytes = Zeroizing::new([0; BYTES]);
    random.fill(&mut *bytes);
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(*bytes)).into()
}

/// SHA-256 of a token, in hex. Nobody guesses a token, so a slow hash would add nothing.
pub fn hash(token: &str) -> String {
    let mut hex = String::with_capacity(2 * BYTES);
    for byte in digest(&SHA256, token.as_bytes()).as_ref() {
        // A string takes whatever is written.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
