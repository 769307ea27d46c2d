//! What can hold a number whose text is known.

use super::columns::Kinds;

/// Doubles hold every integer up to it.
const SMALL_MAX: u64 = 1 << 53;
/// Doubles hold every decimal of so many digits: written and read again it is the same.
const DIGITS_SURE: usize = 15;
/// As long as its exponent is within these bounds.
const EXPONENT_SURE: i64 = 290;

/// Which kind the number is.
pub(super) fn kind(text: &str) -> Kinds {
    if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return if is_exact(text) { Kinds::FLOAT } else { Kinds::NUMBER };
    }
    match text.parse::<i64>() {
        // Integers have no negative zero.
        Ok(0) if text.starts_with('-') => Kinds::FLOAT,
        Ok(value) if value.unsigned_abs() <= SMALL_MAX => Kinds::SMALL,
        Ok(_) => Kinds::INTEGER,
        Err(_) => Kinds::NUMBER,
    }
}

/// True when the double next to the number is written with its digits, so that nothing is lost.
fn is_exact(text: &str) -> bool {
    let Some(decimal) = Decimal::of(text) else { return false };
    if decimal.digits.is_empty() {
        return true;
    }
    if decimal.digits.len() <= DIGITS_SURE && decimal.exponent.abs() <= EXPONENT_SURE {
        return true;
    }
    let Ok(double) = text.parse::<f64>() else { return false };
    double.is_finite() && Decimal::of(&format!("{double:e}")) == Some(decimal)
}

/// A decimal number without its sign: 0.digits · 10^exponent.
#[derive(PartialEq)]
struct Decimal {
    /// Without zeros at the start and the end.
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    fn of(text: &str) -> Option<Self> {
        let text = text.trim_start_matches('-');
        let (mantissa, exponent) = match text.find(['e', 'E']) {
            Some(at) => (&text[..at], text[at + 1..].trim_start_matches('+').parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole.as_bytes(), part.as_bytes()].concat();
        let zeros = all.iter().take_while(|digit| **digit == b'0').count();
        let end = all.iter().rposition(|digit| *digit != b'0').map_or(zeros, |last| last + 1);
        let exponent = i64::from(exponent) + whole.len() as i64 - zeros as i64;
        Some(Self { digits: all[zeros..end].to_vec(), exponent })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_would_be_changed_is_neither_integer_nor_double() {
        for (text, kind_of) in [
            ("0", Kinds::SMALL),
            ("-0", Kinds::FLOAT),
            ("9007199254740992", Kinds::SMALL),
            ("9007199254740993", Kinds::INTEGER),
            ("-9223372036854775808", Kinds::INTEGER),
            ("9223372036854775808", Kinds::NUMBER),
            ("1.0", Kinds::FLOAT),
            ("1e3", Kinds::FLOAT),
            ("0.1", Kinds::FLOAT),
            ("1.7976931348623157e308", Kinds::FLOAT),
            ("5e-324", Kinds::FLOAT),
            ("0.000", Kinds::FLOAT),
            ("0.30000000000000004", Kinds::FLOAT),
            ("0.1234567890123456789", Kinds::NUMBER),
            ("9007199254740993.0", Kinds::NUMBER),
            ("1e400", Kinds::NUMBER),
            ("1e-400", Kinds::NUMBER),
            ("1e99999999999", Kinds::NUMBER),
        ] {
            assert_eq!(kind(text), kind_of, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_double_is_exact_as_it_is_written(bits: u64) {
            let double = f64::from_bits(bits);
            prop_assume!(double.is_finite());
            prop_assert_eq!(kind(&format!("{double:e}")), Kinds::FLOAT);
        }
    }
}
