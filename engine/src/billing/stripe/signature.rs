//! The signature of a webhook: `Stripe-Signature: t=SECONDS,v1=HEX,…` over the time, a point and the raw body.

use aws_lc_rs::hmac;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

/// How far the time of a signature may be from ours.
pub const WINDOW_SECONDS: i64 = 5 * 60;
/// While a secret is replaced there is one signature for each.
const SIGNATURES_MAX: usize = 16;

/// True when one of the signatures is right and the time is near. Each is compared in constant time.
pub fn is_right(secret: &SecretString, header: &str, body: &[u8], now: Timestamp) -> bool {
    let parts = || header.split(',').filter_map(|part| part.trim().split_once('='));
    let Some(time) = parts().find(|(name, _)| *name == "t").map(|(_, time)| time) else { return false };
    let is_near = |seconds: i64| now.as_second().saturating_sub(seconds).saturating_abs() <= WINDOW_SECONDS;
    if !time.parse().is_ok_and(is_near) {
        return false;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    let signed = [time.as_bytes(), b".", body].concat();
    let given = parts().filter(|(name, _)| *name == "v1").take(SIGNATURES_MAX);
    given.filter_map(|(_, hex)| bytes(hex)).any(|tag| hmac::verify(&key, &signed, &tag).is_ok())
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !hex.len().is_multiple_of(2) {
        return None;
    }
    hex.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;

    fn sign(secret: &str, time: i64, body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, &[time.to_string().as_bytes(), b".", body].concat());
        tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn holds(header: &str, body: &[u8]) -> bool {
        is_right(&"whsec_right".into(), header, body, Timestamp::from_second(1_800_000_000).unwrap())
    }

    #[test]
    fn a_signature_holds_for_its_body_its_secret_and_five_minutes() {
        let now = 1_800_000_000;
        let right = |time: i64| format!("t={time},v1={}", sign("whsec_right", time, BODY));
        assert!(holds(&right(now), BODY));
        assert!(holds(&right(now - 300), BODY) && holds(&right(now + 300), BODY));
        assert!(!holds(&right(now - 301), BODY) && !holds(&right(now + 301), BODY));
        assert!(!holds(&right(now), br#"{"id":"evt_2"}"#));
        assert!(!holds(&format!("t={now},v1={}", sign("whsec_wrong", now, BODY)), BODY));
        // The time is signed too.
        assert!(!holds(&format!("t={now},v1={}", sign("whsec_right", now - 1, BODY)), BODY));
    }

    #[test]
    fn while_a_secret_is_replaced_one_signature_of_several_is_enough() {
        let now = 1_800_000_000;
        let (wrong, right) = (sign("whsec_old", now, BODY), sign("whsec_right", now, BODY));
        assert!(holds(&format!("t={now},v1={wrong},v1={right},v0={wrong}"), BODY));
        assert!(!holds(&format!("t={now},v0={right}"), BODY), "another scheme is another scheme");
    }

    #[test]
    fn what_is_no_signature_does_not_hold() {
        for header in ["", "t=", "v1=00", "t=1800000000", "t=1800000000,v1=", "t=1800000000,v1=zz", "t=1800000000,v1=0"]
        {
            assert!(!holds(header, BODY), "{header}");
        }
    }
}
