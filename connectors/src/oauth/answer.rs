//! What a token endpoint answers, read with the leniency that real products need.

use std::time::Duration;

use oauth2::{
    AccessToken, RefreshToken, Scope, TokenResponse,
    basic::{BasicErrorResponse, BasicErrorResponseType, BasicTokenType},
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::error::{Error, ErrorKind};

/// The answer of RFC 6749 section 5.1, where `token_type` may be missing and `expires_in` may be text or 0 (never).
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct TokenAnswer {
    access_token: AccessToken,
    #[serde(default = "bearer")]
    token_type: BasicTokenType,
    #[serde(default, deserialize_with = "lifetime")]
    expires_in: Option<Duration>,
    #[serde(default)]
    refresh_token: Option<RefreshToken>,
}

fn bearer() -> BasicTokenType {
    BasicTokenType::Bearer
}

fn lifetime<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let seconds = match Value::deserialize(from)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    Ok(seconds.filter(|seconds| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()))
}

impl TokenResponse for TokenAnswer {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        self.refresh_token.as_ref().filter(|token| !token.secret().is_empty())
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

/// The error that a token endpoint's refusal stands for (RFC 6749 section 5.2). Its texts stay out: they may quote secrets.
pub(super) fn refusal(answer: &BasicErrorResponse) -> Error {
    let code = answer.error();
    let (kind, advice) = match code {
        BasicErrorResponseType::InvalidGrant => {
            (ErrorKind::Reauthorise, "the product no longer accepts this sign-in: sign in again")
        }
        BasicErrorResponseType::InvalidClient | BasicErrorResponseType::UnauthorizedClient => (
            ErrorKind::Invalid,
            "the product does not accept the OAuth client: check its id and secret in the settings",
        ),
        BasicErrorResponseType::InvalidScope => {
            (ErrorKind::Invalid, "the product does not grant these scopes to the OAuth client: allow them there")
        }
        BasicErrorResponseType::Extension(word) if word == "access_denied" => {
            (ErrorKind::Reauthorise, "access was denied at the product: sign in again and allow it")
        }
        BasicErrorResponseType::Extension(word) if word == "temporarily_unavailable" || word == "server_error" => {
            (ErrorKind::Retry, "the product's sign-in is in trouble: try again later")
        }
        _ => (ErrorKind::Invalid, "the product refuses the token request: check the OAuth client and the integration"),
    };
    let word: String = code.as_ref().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(40).collect();
    Error::new(kind, advice).with("error", word)
}
