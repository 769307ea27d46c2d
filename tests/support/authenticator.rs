//! An authenticator app.

use aws_lc_rs::hmac;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

/// What an app shows at a time: RFC 6238, by the book.
pub fn code_of(app: &SecretString, now: Timestamp) -> SecretString {
    let (mut bits, mut kept, mut key) = (0_u32, 0, Vec::new());
    for letter in app.expose_secret().bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => panic!("base32"),
        };
        (bits, kept) = (bits << 5 | u32::from(value), kept + 5);
        if kept >= 8 {
            kept -= 8;
            key.push((bits >> kept & 0xff) as u8);
        }
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
    let step = u64::try_from(now.as_second()).unwrap() / 30;
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let offset = usize::from(tag.as_ref()[19] & 15);
    let word = u32::from_be_bytes(tag.as_ref()[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    SecretString::from(format!("{:06}", word % 1_000_000))
}
