//! Letters about signing in. Each goes to the address that it is about, and says so: nobody else is told.

use jiff::Timestamp;

use super::{draft::Draft, words};
use crate::ports::Letter;

/// What became of a second factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FactorChange {
    /// A code is asked for from now on.
    On,
    /// It is not any more.
    Off,
}

/// To who registers: the code that proves the address.
pub fn verification(to: &str, name: &str, code: &str) -> Letter {
    Draft::new(to, "Your ListBackup verification code")
        .say(words::greeting(name))
        .say("Your verification code is:")
        .code(code)
        .say(
            "It can be used once, within an hour, and was sent to nobody else. If you did not register, ignore this letter: \
             without the code nothing happens.",
        )
        .write()
}

/// To who registers with an address that has an account.
pub fn already_registered(to: &str) -> Letter {
    Draft::new(to, "You have a ListBackup account already")
        .say(
            "Somebody, most likely you, registered with this address. It has an account already: sign in, or reset your \
             password. If it was not you, there is nothing to do.",
        )
        .write()
}

/// To who asks for a new password: the code that sets one.
pub fn reset_code(to: &str, name: &str, code: &str) -> Letter {
    Draft::new(to, "Your ListBackup code for a new password")
        .say(words::greeting(name))
        .say("Somebody, most likely you, asked for a new password. The code that sets one is:")
        .code(code)
        .say(
            "It can be used once, within an hour, and was sent to nobody else. Using it signs you out everywhere. If you did \
             not ask for it, ignore this letter: without the code nothing happens.",
        )
        .write()
}

/// To who asks for a new password with an address that nobody signs in with: as much work as for one of somebody, and of use to who has
/// several.
pub fn no_account(to: &str) -> Letter {
    Draft::new(to, "No ListBackup account has this address")
        .say(
            "Somebody, most likely you, asked for a new password for this address. Nobody signs in to ListBackup with it: try \
             another address, or register. Nobody else was told so. If it was not you, there is nothing to do.",
        )
        .write()
}

/// To who has another password now.
pub fn password_changed(to: &str, name: &str, at: Timestamp) -> Letter {
    Draft::new(to, "Your ListBackup password was changed")
        .say(words::greeting(name))
        .say("Your password was changed, and you were signed out everywhere.")
        .facts([("Time", words::time(at))])
        .say(
            "If it was you, there is nothing to do. If it was not, set a new password at once, by the code that is mailed to \
             this address, and tell the owner of your account.",
        )
        .write()
}

/// To whose recovery code was used to sign in.
pub fn recovery_code_used(to: &str, name: &str, codes_left: u32, at: Timestamp) -> Letter {
    Draft::new(to, "A recovery code was used to sign in to ListBackup")
        .say(words::greeting(name))
        .say("Somebody signed in with your password and one of your recovery codes, in place of a code of your authenticator app.")
        .facts([("Time", words::time(at)), ("Recovery codes left", codes_left.to_string())])
        .say(
            "If it was you, and your app is lost or few codes are left, turn the second factor off and on again: that makes new \
             ones. If it was not, set a new password at once, by the code that is mailed to this address, which signs everybody \
             out, and tell the owner of your account.",
        )
        .write()
}

/// To who is asked for a second factor from now on, or not any more.
pub fn second_factor_changed(to: &str, name: &str, change: FactorChange, at: Timestamp) -> Letter {
    let (subject, what) = match change {
        FactorChange::On => (
            "Signing in to ListBackup asks for a code now",
            "A second factor was turned on: signing in asks for a code of your authenticator app.",
        ),
        FactorChange::Off => (
            "Signing in to ListBackup asks for no code any more",
            "The second factor was turned off: your password alone is enough to sign in.",
        ),
    };
    Draft::new(to, subject)
        .say(words::greeting(name))
        .say(what)
        .facts([("Time", words::time(at))])
        .say(
            "If it was you, there is nothing to do. If it was not, set a new password at once, by the code that is mailed to \
             this address, and tell the owner of your account.",
        )
        .write()
}
