//! How often each thing may be tried.

use std::time::Duration;

use super::guesses::Guesses;
use crate::attempts::Attempts;

/// Wrong old passwords at once, wrong codes of a letter, and one more of each after the pace.
const GUESS_BURST: u32 = 10;
const GUESS_PACE: Duration = Duration::from_secs(30);
/// Letters that an address may get at once, and one more after the pace.
const LETTER_BURST: u32 = 5;
const LETTER_PACE: Duration = Duration::from_secs(12 * 60);
/// Codes of an authenticator app, which are six digits of which three are right at a time: whoever has the password and guesses all day
/// needs 460 days on average.
const FACTOR_BURST: u32 = 5;
const FACTOR_PACE: Duration = Duration::from_secs(2 * 60);

/// The counts. What one person or address uses up is no other's; and what is done without a password uses up nothing of what is done
/// with one, so that no stranger keeps the owner out.
pub(super) struct Limits {
    /// Passwords.
    pub(super) sign_ins: Guesses,
    /// Old passwords of people who are signed in, by person.
    pub(super) old_passwords: Attempts,
    /// Letters that prove an address, by address.
    pub(super) letters: Attempts,
    /// Letters that set a new password, by address.
    pub(super) reset_letters: Attempts,
    /// Wrong codes of those, by address.
    pub(super) reset_codes: Attempts,
    /// Codes of a second factor, by person.
    pub(super) factor_codes: Attempts,
}

impl Limits {
    pub(super) fn new() -> Self {
        Self {
            sign_ins: Guesses::new(),
            old_passwords: Attempts::new(GUESS_BURST, GUESS_PACE),
            letters: Attempts::new(LETTER_BURST, LETTER_PACE),
            reset_letters: Attempts::new(LETTER_BURST, LETTER_PACE),
            reset_codes: Attempts::new(GUESS_BURST, GUESS_PACE),
            factor_codes: Attempts::new(FACTOR_BURST, FACTOR_PACE),
        }
    }
}
