//! What an authenticator app reads: one form for every identity.

use url::Url;

use crate::{
    error::{Error, ErrorKind, Result},
    ports::NewFactor,
};

/// What the app shows beside the code.
const ISSUER: &str = "ListBackup";

/// A secret in base32 for the person with this address.
///
/// # Errors
/// `Bug` when no link can be made of it.
pub(super) fn factor(secret: String, email: &str) -> Result<NewFactor> {
    let no_link = || Error::new(ErrorKind::Bug, "a link for an authenticator app could not be made");
    let mut uri = Url::parse("otpauth://totp/").map_err(|error| no_link().caused_by(error))?;
    uri.path_segments_mut().map_err(|()| no_link())?.push(&format!("{ISSUER}:{email}"));
    // These are what apps take when nothing is said; not all of them read it.
    let parameters =
        [("secret", &*secret), ("issuer", ISSUER), ("algorithm", "SHA1"), ("digits", "6"), ("period", "30")];
    uri.query_pairs_mut().extend_pairs(parameters);
    Ok(NewFactor { uri: String::from(uri).into(), secret: secret.into() })
}

/// Why nothing is set up for somebody who has a second factor: else a stolen access token would put another one in its place.
pub(super) fn is_on_already() -> Error {
    Error::new(ErrorKind::Conflict, "there is a second factor already; turn it off first, with a code")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_link_names_the_person_and_the_secret_whatever_their_address() {
        let made = factor("ABC".to_owned(), "a/d&a?%#+x@example.com").unwrap();
        assert_eq!(
            made.uri.expose_secret(),
            "otpauth://totp/ListBackup:a%2Fd&a%3F%25%23+x@example.com?secret=ABC&issuer=ListBackup&algorithm=SHA1&digits=6&period=30"
        );
        assert_eq!(made.secret.expose_secret(), "ABC");
    }
}
