//! Random codes and tokens, and the hashes under which they are kept.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;

use crate::{ports::Random, token};

/// 80 bits as 16 letters: too many to guess, however long a code lives, short enough to type.
const CODE_BYTES: usize = 10;
const CODE_LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A code for a letter: `abcd-efgh-jkmn-pqrs`.
pub(super) fn code(random: &dyn Random) -> String {
    let mut bytes = [0; 16];
    random.fill(&mut bytes[..CODE_BYTES]);
    let mut bits = u128::from_le_bytes(bytes);
    let mut code = String::with_capacity(19);
    for position in 0..16 {
        if position > 0 && position % 4 == 0 {
            code.push('-');
        }
        code.push(char::from(CODE_LETTERS[(bits & 31) as usize]));
        bits >>= 5;
    }
    code
}

/// The hash of a code, bound to its address or person; however the person writes it.
pub(super) fn code_hash(whose: &str, code: &str) -> String {
    let plain: String =
        code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    hash(&format!("{whose}\n{plain}"))
}

/// A refresh token of 256 random bits.
pub(super) fn refresh_token(random: &dyn Random) -> SecretString {
    token::new("lbr_", random)
}

/// A token of as many bits for a question that waits for its answer.
pub(super) fn challenge(random: &dyn Random) -> SecretString {
    token::new("lbq_", random)
}

/// The name of a family of refresh tokens.
pub(super) fn family(random: &dyn Random) -> String {
    identifier(random)
}

/// A random name without meaning.
pub(super) fn identifier(random: &dyn Random) -> String {
    let mut bytes = [0; 16];
    random.fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// SHA-256; what has 80 bits and more to guess needs no slow hash.
pub(super) fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}
