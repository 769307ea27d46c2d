//! A secret that one connection may send to some hosts only, whatever its settings and its manifest say.
//!
//! The client looks for it in each request to another host: in address, headers and body, as it is and as it is usually written in
//! them: percent-encoded, as a form, as JSON, in base64, and in one of these inside another. Whoever writes a manifest can disguise a
//! secret in other ways, so only manifests that are trusted with it are given it at all.

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use memchr::memmem;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use url::Url;
use zeroize::Zeroizing;

use super::{
    Request,
    hosts::{Hosts, refused},
};
use crate::error::Result;

/// Encodings inside each other that are looked into.
const DEPTH: u32 = 4;
/// Without padding; what stands in the last character beside the text is no matter.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_encode_padding(false)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// A secret, and where it may go.
pub struct GuardedSecret {
    secret: SecretString,
    /// It in base64, as it looks inside a longer text.
    inside_base64: Vec<SecretSlice<u8>>,
    hosts: Hosts,
}

impl GuardedSecret {
    /// One that may be sent to `hosts`.
    pub fn new(secret: SecretString, hosts: Hosts) -> Self {
        let mut inside_base64 = Vec::new();
        for before in 0..3 {
            let mut text = Zeroizing::new(vec![0; before]);
            text.extend_from_slice(secret.expose_secret().as_bytes());
            for engine in [BASE64, BASE64_URL] {
                let encoded = Zeroizing::new(engine.encode(&*text));
                // Characters that have bits of a neighbour in them are not compared.
                let end = encoded.len() - usize::from(text.len() % 3 != 0);
                let own = encoded.as_bytes().get([0, 2, 3][before]..end).unwrap_or_default();
                inside_base64.push(SecretSlice::from(own.to_vec()));
            }
        }
        inside_base64.retain(|own| !own.expose_secret().is_empty());
        Self { secret, inside_base64, hosts }
    }

    /// The secret itself, to be kept out of what is told.
    pub(crate) fn expose(&self) -> &str {
        self.secret.expose_secret()
    }

    /// Lets a request pass that does not carry the secret, or carries it to one of the hosts.
    ///
    /// # Errors
    /// `Denied`, with the host.
    pub(crate) fn check(&self, request: &Request) -> Result<()> {
        if self.hosts.have(&request.url) || !self.is_carried(request) { Ok(()) } else { Err(refused(&request.url)) }
    }

    fn is_carried(&self, request: &Request) -> bool {
        self.is_in_url(&request.url)
            || request.headers.values().any(|value| self.is_in(value.as_bytes(), DEPTH))
            || self.is_in(&request.body, DEPTH)
    }

    /// True when an address has it in any part.
    pub(crate) fn is_in_url(&self, url: &Url) -> bool {
        // Names of hosts have no capitals.
        let lower = Zeroizing::new(self.expose().to_ascii_lowercase());
        url.host_str().is_some_and(|host| host.contains(&*lower)) || self.is_in(url.as_str().as_bytes(), DEPTH)
    }

    fn is_in(&self, text: &[u8], depth: u32) -> bool {
        let secret = self.expose().as_bytes();
        let own = std::iter::once(secret).chain(self.inside_base64.iter().map(ExposeSecret::expose_secret));
        if own.into_iter().any(|own| memmem::find(text, own).is_some()) || partly_escaped(text, secret) {
            return true;
        }
        if depth == 0 || text.len() < secret.len() {
            return false;
        }
        let inner =
            |decoded: Option<Zeroizing<Vec<u8>>>| decoded.is_some_and(|decoded| self.is_in(&decoded, depth - 1));
        inner(without_escapes(text))
            || inner(without_percents(text, false))
            || inner(without_percents(text, true))
            || base64_in(text, secret.len()).any(|decoded| inner(Some(decoded)))
    }
}

/// True when `text` has `secret` with some of its bytes percent-encoded. To undo the encoding does not do here: a `%` of the secret's own
/// may stand as it is.
fn partly_escaped(text: &[u8], secret: &[u8]) -> bool {
    let is_start = |byte: &u8| *byte == b'%' || *byte == b'+' || Some(byte) == secret.first();
    let has_escapes = memchr::memchr2(b'%', b'+', text).is_some();
    has_escapes && (0..text.len()).any(|at| is_start(&text[at]) && begins_with(&text[at..], secret))
}

fn begins_with(text: &[u8], secret: &[u8]) -> bool {
    let Some((&byte, others)) = secret.split_first() else { return true };
    let Some((&first, after)) = text.split_first() else { return false };
    let is_plain = first == byte || first == b'+' && byte == b' ';
    is_plain && begins_with(after, others)
        || first == b'%'
            && after
                .split_at_checked(2)
                .is_some_and(|(hex, after)| hex_value(hex) == Some(byte.into()) && begins_with(after, others))
}

/// Percent-encoding undone, in forms with spaces for pluses; `None` when there is nothing to undo.
fn without_percents(text: &[u8], is_form: bool) -> Option<Zeroizing<Vec<u8>>> {
    let has_pluses = is_form && text.contains(&b'+');
    if !has_pluses && (is_form || !text.contains(&b'%')) {
        return None;
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = if first == b'%' {
            after.split_at_checked(2).and_then(|(hex, rest)| Some((hex_value(hex)?, rest)))
        } else {
            None
        };
        let (byte, after) = match escaped {
            Some((value, rest)) => (u8::try_from(value).ok()?, rest),
            None if first == b'+' && is_form => (b' ', after),
            None => (first, after),
        };
        plain.push(byte);
        rest = after;
    }
    (**plain != *text).then_some(plain)
}

/// Escapes of JSON and its like undone; `None` when there are none.
fn without_escapes(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    memchr::memchr(b'\\', text)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let Some((&escaped, after)) = after.split_first().filter(|_| first == b'\\') else {
            plain.push(first);
            continue;
        };
        let digits = match escaped {
            b'u' => 4,
            b'x' => 2,
            _ => 0,
        };
        // A secret is ASCII; of others it is enough that something stands for them.
        match after
            .split_at_checked(digits)
            .and_then(|(hex, rest)| Some((hex_value(hex)?, rest)))
            .filter(|_| digits > 0)
        {
            Some((value, after)) => {
                plain.push(u8::try_from(value).unwrap_or(b'?'));
                rest = after;
            }
            None => {
                plain.push(escaped);
                rest = after;
            }
        }
    }
    Some(plain)
}

fn hex_value(hex: &[u8]) -> Option<u32> {
    hex.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

/// What decodes of the stretches of `text` that may be base64 and are long enough for so many bytes.
fn base64_in(text: &[u8], bytes_min: usize) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
    let is_of_it = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
    let stretches = text.split(move |byte| !is_of_it(byte)).filter(move |stretch| stretch.len() * 3 / 4 >= bytes_min);
    stretches.filter_map(|stretch| {
        // One character too many says nothing.
        let whole = &stretch[..stretch.len() - usize::from(stretch.len() % 4 == 1)];
        BASE64.decode(whole).or_else(|_| BASE64_URL.decode(whole)).ok().map(Zeroizing::new)
    })
}

#[cfg(test)]
mod tests;
