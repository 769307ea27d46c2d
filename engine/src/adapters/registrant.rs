//! What somebody who registers, or sets another password, must give: one rule for every identity.

use secrecy::{ExposeSecret, SecretString};

use crate::{
    connectors::Problem,
    error::{Error, Result},
};

const MIN_PASSWORD_CHARS: usize = 10;
const MAX_PASSWORD_BYTES: usize = 1024;
const MAX_NAME_CHARS: usize = 200;
/// RFC 5321, 4.5.3.1.
const MAX_ADDRESS_BYTES: usize = 254;
const MAX_LOCAL_PART_BYTES: usize = 64;

/// The address and name in the form in which they are kept.
///
/// # Errors
/// `Invalid` with every problem.
pub(super) fn check(email: &str, password: &SecretString, name: &str) -> Result<(String, String)> {
    let mut problems = Vec::new();
    let mut problem = |place: &str, message: String| problems.push(Problem { place: place.to_owned(), message });
    let address = normalise(email);
    if address.is_none() {
        problem("/email", "must be an e-mail address, such as ada@example.com".to_owned());
    }
    for message in weaknesses(password) {
        problem("/password", message);
    }
    let name = name.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control) {
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

/// The address in lower case; `None` when it is none.
pub(super) fn normalise(email: &str) -> Option<String> {
    let email = email.trim();
    let (local, domain) = email.rsplit_once('@')?;
    let local_fits = (1..=MAX_LOCAL_PART_BYTES).contains(&local.len())
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..");
    let plain = email
        .chars()
        .all(|letter| !letter.is_whitespace() && !letter.is_control() && !"()<>,;:\\\"[]".contains(letter));
    let labels: Vec<&str> = domain.split('.').collect();
    let domain_fits = labels.len() >= 2
        && labels.iter().all(|label| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|letter| letter.is_alphanumeric() || letter == '-')
        });
    let fits = email.len() <= MAX_ADDRESS_BYTES && local_fits && plain && domain_fits && !local.contains('@');
    fits.then(|| email.to_lowercase())
}
