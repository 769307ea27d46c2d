//! What Cognito's refusals mean for a person: equal words for an unknown address and a wrong password.

use std::{error::Error as StdError, time::Duration};

use aws_sdk_cognitoidentityprovider::types::ChallengeNameType;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use super::super::error;
use crate::{
    connectors::Problem,
    error::{Error, ErrorKind},
};

/// Said by the pool when somebody tries too often.
const TOO_OFTEN: &[&str] = &["LimitExceededException", "TooManyFailedAttemptsException", "TooManyRequestsException"];
/// Cognito does not say for how long; its own pauses begin with a second and end with a quarter of an hour.
const PAUSE: Duration = Duration::from_secs(30);
const WEAK: &str = "the new password does not do";

type Refusal<E> = SdkError<E, HttpResponse>;

pub(super) fn failed<E>(error: Refusal<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    if has_code(&error, TOO_OFTEN) { too_often(error) } else { error::failed("Cognito", error) }
}

pub(super) fn refused() -> Error {
    Error::new(ErrorKind::Denied, "the address or the password is wrong")
}

pub(super) fn wrong_code() -> Error {
    Error::new(ErrorKind::Denied, "the code is wrong, was used, or has expired; ask for a new one")
}

pub(super) fn of_registration<E>(error: Refusal<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    of_password("the registration is not complete", error)
}

/// What the pool says of a new password.
fn of_password<E>(message: &'static str, error: Refusal<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let said = error.message().unwrap_or("the user pool does not take it").to_owned();
    let problem = |place: &str| {
        let problem = Problem { place: place.to_owned(), message: said.clone() };
        Error::invalid(message, vec![problem])
    };
    match error.code() {
        Some("InvalidPasswordException" | "PasswordHistoryPolicyViolationException") => problem("/password"),
        // Of several possible ones, such as a password longer than the pool takes.
        Some("InvalidParameterException") => problem(""),
        _ => failed(error),
    }
}

/// A new password by a code of a letter.
pub(super) fn of_reset<E>(error: Refusal<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match error.code() {
        Some("InvalidPasswordException" | "PasswordHistoryPolicyViolationException") => of_password(WEAK, error),
        _ => of_code(error),
    }
}

/// A new password by the old one.
pub(super) fn of_change<E>(error: Refusal<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    match error.code() {
        // Also for an access token that was ended meanwhile.
        Some("NotAuthorizedException" | "PasswordResetRequiredException" | "UserNotFoundException") => {
            Error::new(ErrorKind::Denied, "the old password is wrong")
        }
        _ => of_password(WEAK, error),
    }
}

/// The password is set, and the pool did not do the rest.
pub(super) fn not_signed_out<E>(error: Refusal<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let failed = failed(error);
    let message = "the new password is set, but earlier sign-ins could not be ended: sign in, and log out everywhere";
    Error::new(failed.kind(), message).caused_by(failed)
}

pub(super) fn wrong_factor() -> Error {
    Error::new(ErrorKind::Denied, "the code is wrong or was used, or this sign-in has ended")
}

/// A code of a second factor.
pub(super) fn of_factor<E>(error: Refusal<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    const WRONG: &[&str] = &[
        "CodeMismatchException",
        "EnableSoftwareTokenMFAException",
        "ExpiredCodeException",
        "InvalidParameterException",
        "NotAuthorizedException",
        "PasswordResetRequiredException",
        "SoftwareTokenMFANotFoundException",
        "UserNotConfirmedException",
        "UserNotFoundException",
    ];
    if has_code(&error, WRONG) { wrong_factor() } else { failed(error) }
}

/// What somebody asks who is signed in.
pub(super) fn of_session<E>(error: Refusal<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    of_refresh(error)
}

pub(super) fn of_code<E>(error: Refusal<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    const WRONG: &[&str] = &[
        "AliasExistsException",
        "CodeMismatchException",
        "ExpiredCodeException",
        "InvalidParameterException",
        "NotAuthorizedException",
        "UserNotFoundException",
    ];
    if has_code(&error, WRONG) { wrong_code() } else { failed(error) }
}

pub(super) fn of_sign_in<E>(error: Refusal<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    const WRONG: &[&str] = &[
        "InvalidParameterException",
        "NotAuthorizedException",
        "PasswordResetRequiredException",
        "UserNotConfirmedException",
        "UserNotFoundException",
    ];
    // The pool tells too many guesses by words alone.
    if error.code() == Some("NotAuthorizedException")
        && error.message().is_some_and(|said| said.to_lowercase().contains("attempts exceeded"))
    {
        return too_often(error);
    }
    if has_code(&error, WRONG) { refused() } else { failed(error) }
}

pub(super) fn of_refresh<E>(error: Refusal<E>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    const ENDED: &[&str] = &[
        "InvalidParameterException",
        "NotAuthorizedException",
        "RefreshTokenReuseException",
        "UserNotConfirmedException",
        "UserNotFoundException",
    ];
    if has_code(&error, ENDED) {
        return Error::new(ErrorKind::Denied, "the session has ended; sign in again");
    }
    failed(error)
}

/// The password is right, but the pool wants more.
pub(super) fn challenged(challenge: Option<&ChallengeNameType>) -> Error {
    let wanted = match challenge {
        Some(ChallengeNameType::NewPasswordRequired) => "a new password, which can be set in the user pool",
        _ => {
            "something that can be given in the user pool alone: of second factors, an authenticator app is asked for here"
        }
    };
    Error::new(ErrorKind::Denied, format!("this sign-in needs {wanted}"))
}

pub(super) fn is_known_already(error: &impl ProvideErrorMetadata) -> bool {
    has_code(error, &["AliasExistsException", "UsernameExistsException"])
}

/// Refusals that would tell whether an address is known, or waits for a code.
pub(super) fn is_about_the_address(error: &impl ProvideErrorMetadata) -> bool {
    let about =
        ["InvalidParameterException", "LimitExceededException", "NotAuthorizedException", "UserNotFoundException"];
    has_code(error, &about)
}

pub(super) fn is_reuse(error: &impl ProvideErrorMetadata) -> bool {
    has_code(error, &["RefreshTokenReuseException"])
}

pub(super) fn is_no_token(error: &impl ProvideErrorMetadata) -> bool {
    has_code(error, &["InvalidParameterException", "NotAuthorizedException", "UnsupportedTokenTypeException"])
}

fn too_often(error: impl StdError + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::RateLimited, "too many attempts; wait and try again").after(PAUSE).caused_by(error)
}

fn has_code(error: &impl ProvideErrorMetadata, codes: &[&str]) -> bool {
    error.code().is_some_and(|code| codes.contains(&code))
}
