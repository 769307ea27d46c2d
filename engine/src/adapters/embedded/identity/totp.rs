//! Codes of an authenticator app: TOTP (RFC 6238) with SHA-1, six digits and steps of 30 seconds, as every app has it.

use jiff::Timestamp;
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

use crate::{
    error::{Error, ErrorKind, Result},
    ports::Random,
};

/// RFC 4226 recommends 160 bits.
const SECRET_BYTES: usize = 20;
const DIGITS: usize = 6;

/// A new secret.
pub(super) fn secret(random: &dyn Random) -> Secret {
    let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
    random.fill(&mut *bytes);
    Secret::new_stack(*bytes)
}

/// What a person typed, when it has the form of such a code. Recovery codes are longer.
pub(super) fn digits(typed: &str) -> Option<String> {
    let plain: String = typed.chars().filter(char::is_ascii_alphanumeric).collect();
    (plain.len() == DIGITS && plain.bytes().all(|digit| digit.is_ascii_digit())).then_some(plain)
}

/// The time step that a code belongs to: the present one, or one beside it, since clocks differ. `None` when it belongs to neither.
pub(super) fn step(secret: &[u8], code: &str, now: Timestamp) -> Result<Option<i64>> {
    let now_s = u64::try_from(now.as_second()).unwrap_or_default();
    Ok(totp(secret)?.check(code, now_s).and_then(|step| i64::try_from(step).ok()))
}

fn totp(secret: &[u8]) -> Result<Totp> {
    let damaged = || Error::new(ErrorKind::Corrupt, "the secret of a second factor is damaged");
    // The defaults are those of the RFC, which apps have; one step of tolerance each way among them.
    Builder::new().with_secret(secret.to_vec()).build().map_err(|error| damaged().caused_by(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, the last six digits of each.
        let secret = b"12345678901234567890";
        for (second, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            assert_eq!(step(secret, code, at(second)).unwrap(), Some(second / 30), "{second}");
        }
    }

    #[test]
    fn a_code_is_taken_one_step_early_or_late_and_no_further() {
        let secret = b"12345678901234567890";
        for (second, taken) in [(0, false), (30, true), (89, true), (119, true), (120, false)] {
            // Of step 2, from second 60 to 89.
            assert_eq!(step(secret, "359152", at(second)).unwrap(), taken.then_some(2), "{second}");
        }
    }

    #[test]
    fn a_code_is_known_by_its_form_however_it_is_typed() {
        assert_eq!(digits(" 123 456\n").as_deref(), Some("123456"));
        for other in ["", "12345", "1234567", "12345a", "abcd-efgh-jkmn-pqrs"] {
            assert_eq!(digits(other), None, "{other}");
        }
    }
}
