//! Signed reports. The key of a signature follows from the account's root: only who can open the account's data keys can
//! sign, and everybody who was given the public key can check, without any other key.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    account_store::AccountStore,
    codec::{hex, unhex},
    json,
    keys::Secret,
};
use crate::error::{Error, ErrorKind, Result};

/// The one algorithm.
const ALGORITHM: &str = "Ed25519";
/// What is signed begins with it, so that no signature of something else can be taken for one of a report.
const DOMAIN: &[u8] = b"listbackup report 1\0";
/// Size of a public key in bytes.
const PUBLIC_KEY_BYTES: usize = 32;

/// Signs reports of one account.
pub(crate) struct Signer(Ed25519KeyPair);

impl Signer {
    /// From a derived seed.
    ///
    /// # Errors
    /// `Bug` when the library refuses it.
    pub(crate) fn new(seed: &Secret) -> Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&**seed)
            .map_err(|_| Error::new(ErrorKind::Bug, "the cryptographic library refused a signing key"))?;
        Ok(Self(pair))
    }
}

/// The public half of an account's signing key; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; PUBLIC_KEY_BYTES]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = unhex(text).and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(Self)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "a public key has 64 hexadecimal digits").with("value", text))
    }
}

/// A report with its signature.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Signed {
    /// The report: a JSON object. White space and the order of its fields do not matter to the signature.
    pub report: Box<RawValue>,
    /// Who says so.
    pub signature: Signature,
}

/// A signature over a report's canonical text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Signature {
    /// `Ed25519`.
    pub algorithm: String,
    /// The public key, in hex: where it comes from is for the reader to know.
    pub public_key: String,
    /// The signature, in hex.
    pub value: String,
}

impl Signed {
    /// Checks that the holder of that key signed this very report.
    ///
    /// # Errors
    /// `Corrupt` when the report was altered or another key signed it; `Invalid` for another algorithm.
    pub fn check(&self, public_key: &PublicKey) -> Result<()> {
        if self.signature.algorithm != ALGORITHM {
            return Err(Error::new(ErrorKind::Invalid, "the report is signed by an algorithm that this program lacks")
                .with("algorithm", &self.signature.algorithm));
        }
        if self.signature.public_key != public_key.to_string() {
            return Err(Error::new(ErrorKind::Corrupt, "the report was signed with another key")
                .with("key of the report", &self.signature.public_key)
                .with("expected key", public_key));
        }
        let altered = || Error::new(ErrorKind::Corrupt, "the report is not the one that was signed: it was altered");
        let value = unhex(&self.signature.value).ok_or_else(altered)?;
        let message = message(self.report.get()).ok_or_else(altered)?;
        UnparsedPublicKey::new(&ED25519, &public_key.0).verify(&message, &value).map_err(|_| altered())
    }
}

impl AccountStore {
    /// The public half of the key by which this account's reports are signed. It stays the same when data keys change.
    ///
    /// # Errors
    /// `Bug` when the library gives none.
    pub fn public_key(&self) -> Result<PublicKey> {
        let bytes = self.ring.signer().0.public_key().as_ref().try_into();
        bytes.map(PublicKey).map_err(|_| Error::new(ErrorKind::Bug, "a public key has another size"))
    }

    /// Signs a report, a JSON object.
    ///
    /// # Errors
    /// `Bug` for what does not serialise to JSON.
    pub fn sign(&self, report: &impl Serialize) -> Result<Signed> {
        let fault = || Error::new(ErrorKind::Bug, "a report does not serialise");
        let text = serde_json::to_string(report).map_err(|error| fault().caused_by(error))?;
        let message = message(&text).ok_or_else(fault)?;
        let signature = Signature {
            algorithm: ALGORITHM.to_owned(),
            public_key: self.public_key()?.to_string(),
            value: hex(self.ring.signer().0.sign(&message).as_ref()),
        };
        let report = RawValue::from_string(text).map_err(|error| fault().caused_by(error))?;
        Ok(Signed { report, signature })
    }
}

fn message(report: &str) -> Option<Vec<u8>> {
    let mut message = DOMAIN.to_vec();
    json::canonicalise(report.as_bytes(), &mut message)?;
    Some(message)
}
