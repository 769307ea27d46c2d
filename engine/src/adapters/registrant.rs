//! What somebody who registers, or sets another password, must give: one rule for every identity.

use secrecy::{ExposeSecret, SecretString};

use crate::{
    connectors::Problem,
    error::{Error, Result},
    model::user::normal_address,
};

const MIN_PASSWORD_CHARS: usize = 10;
const MAX_PASSWORD_BYTES: usize = 1024;
const MAX_NAME_CHARS: usize = 200;

/// The address and name in the form in which they are kept.
///
/// # Errors
/// `Invalid` with every problem.
pub(super) fn check(email: &str, password: &SecretString, name: &str) -> Result<(String, String)> {
    let mut problems = Vec::new();
    let mut problem = |place: &str, message: String| problems.push(Problem { place: place.to_owned(), message });
    let address = normal_address(email);
    if address.is_none() {
        problem("/email", "must be an e-mail address, such as ada@example.com".to_owned());
    }
    for message in weaknesses(password) {
        problem("/password", message);
    }
    let has_control = name.chars().any(char::is_control);
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || has_control {
        problem("/name", format!("must be one line of 1 to {MAX_NAME_CHARS} characters"));
    }
    match address {
        Some(address) if problems.is_empty() => Ok((address, name.to_owned())),
        _ => Err(Error::invalid("the registration is not complete", problems)),
    }
}

/// Checks a password that takes the place of another one.
///
/// # Errors
/// `Invalid` with every problem.
pub(super) fn check_password(password: &SecretString) -> Result<()> {
    let problem = |message| Problem { place: "/password".to_owned(), message };
    let problems: Vec<_> = weaknesses(password).map(problem).collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::invalid("the new password does not do", problems)) }
}

fn weaknesses(password: &SecretString) -> impl Iterator<Item = String> {
    let password = password.expose_secret();
    let short = password.chars().count() < MIN_PASSWORD_CHARS;
    let long = password.len() > MAX_PASSWORD_BYTES;
    let short = short.then(|| format!("must have at least {MIN_PASSWORD_CHARS} characters"));
    let long = long.then(|| format!("must have at most {MAX_PASSWORD_BYTES} bytes"));
    short.into_iter().chain(long)
}
