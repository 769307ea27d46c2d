//! The sandbox's OAuth 2 server: authorization code with PKCE S256, refresh tokens that work once.
//!
//! Using a refresh token a second time revokes everything that came from its sign-in, as careful products do
//! (RFC 9700, section 4.14.2). Tokens are drawn from the seed: fit for a sandbox on the loopback interface, for nothing else.

use std::{collections::HashMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use tokio::time::Instant;

use super::draw::Draw;

/// Codes and tokens.
pub struct OAuthServer {
    draws: Draw,
    access_token_life: Duration,
    codes: HashMap<String, Code>,
    access_tokens: HashMap<String, Access>,
    refresh_tokens: HashMap<String, Refresh>,
    grants: Vec<Grant>,
}

/// The one OAuth client.
#[derive(Deserialize)]
pub struct OAuthClient {
    /// Its id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
}

struct Code {
    challenge: String,
    redirect_uri: String,
    until: Instant,
    grant: Option<usize>,
}

struct Access {
    grant: usize,
    until: Instant,
}

struct Refresh {
    grant: usize,
    is_spent: bool,
}

/// One sign-in, and whatever came from it.
struct Grant {
    is_revoked: bool,
}

/// What the browser brings to the authorization page.
#[derive(Deserialize)]
pub struct AuthorizeQuery {
    /// `code`.
    pub response_type: String,
    /// The OAuth client.
    pub client_id: String,
    /// Where to go back to.
    pub redirect_uri: String,
    /// Handed back.
    #[serde(default)]
    pub state: String,
    /// PKCE; required.
    #[serde(default)]
    pub code_challenge: String,
    /// `S256`.
    #[serde(default)]
    pub code_challenge_method: String,
}

/// What comes to the token endpoint.
#[derive(Deserialize)]
pub struct TokenForm {
    /// `authorization_code`, `refresh_token` or `client_credentials`.
    #[serde(default)]
    pub grant_type: String,
    /// The code.
    #[serde(default)]
    pub code: String,
    /// As at the authorization page.
    #[serde(default)]
    pub redirect_uri: String,
    /// The other half of the challenge.
    #[serde(default)]
    pub code_verifier: String,
    /// The refresh token.
    #[serde(default)]
    pub refresh_token: String,
    /// The OAuth client, unless it comes by HTTP basic.
    pub client_id: Option<String>,
    /// Its secret.
    pub client_secret: Option<String>,
}

/// New tokens.
#[derive(Debug, PartialEq, Eq)]
pub struct Issued {
    /// For requests.
    pub access_token: String,
    /// For the next refresh; none for client credentials.
    pub refresh_token: Option<String>,
    /// How long the access token lasts.
    pub expires_in_s: u64,
}

/// Refusals by the words of RFC 6749 section 5.2.
pub type Refusal = &'static str;

const CODE_LIFE: Duration = Duration::from_secs(60);

impl OAuthServer {
    /// Nobody has signed in.
    pub fn new(seed: u64, access_token_life: Duration) -> Self {
        Self {
            draws: Draw::new(seed, [u64::MAX, 0, 0]),
            access_token_life,
            codes: HashMap::new(),
            access_tokens: HashMap::new(),
            refresh_tokens: HashMap::new(),
            grants: Vec::new(),
        }
    }

    /// Approves at once: a code for the browser to carry back.
    ///
    /// # Errors
    /// `invalid_request` without PKCE S256.
    pub fn authorize(&mut self, query: &AuthorizeQuery) -> Result<String, Refusal> {
        if query.response_type != "code" {
            return Err("unsupported_response_type");
        }
        if query.code_challenge.is_empty() || query.code_challenge_method != "S256" {
            return Err("invalid_request");
        }
        let code = self.secret("code");
        let (challenge, redirect_uri) = (query.code_challenge.clone(), query.redirect_uri.clone());
        self.codes
            .insert(code.clone(), Code { challenge, redirect_uri, until: Instant::now() + CODE_LIFE, grant: None });
        Ok(code)
    }

    /// Exchanges a code or a refresh token; the OAuth client is checked already.
    ///
    /// # Errors
    /// `invalid_grant` for what is unknown, spent, expired or revoked; `unsupported_grant_type`.
    pub fn exchange(&mut self, form: &TokenForm) -> Result<Issued, Refusal> {
        match form.grant_type.as_str() {
            "authorization_code" => self.exchange_code(form),
            "refresh_token" => self.exchange_refresh(&form.refresh_token),
            "client_credentials" => {
                self.grants.push(Grant { is_revoked: false });
                Ok(Issued { refresh_token: None, ..self.issue(self.grants.len() - 1) })
            }
            _ => Err("unsupported_grant_type"),
        }
    }

    fn exchange_code(&mut self, form: &TokenForm) -> Result<Issued, Refusal> {
        let code = self.codes.get_mut(&form.code).ok_or("invalid_grant")?;
        if let Some(grant) = code.grant {
            // A code that comes twice was stolen by one of the two.
            self.grants[grant].is_revoked = true;
            return Err("invalid_grant");
        }
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, form.code_verifier.as_bytes());
        let is_proven = URL_SAFE_NO_PAD.encode(digest) == code.challenge;
        if !is_proven || code.redirect_uri != form.redirect_uri || code.until < Instant::now() {
            return Err("invalid_grant");
        }
        self.grants.push(Grant { is_revoked: false });
        let grant = self.grants.len() - 1;
        code.grant = Some(grant);
        Ok(self.issue(grant))
    }

    fn exchange_refresh(&mut self, token: &str) -> Result<Issued, Refusal> {
        let refresh = self.refresh_tokens.get_mut(token).ok_or("invalid_grant")?;
        let grant = refresh.grant;
        if std::mem::replace(&mut refresh.is_spent, true) {
            self.grants[grant].is_revoked = true;
        }
        if self.grants[grant].is_revoked { Err("invalid_grant") } else { Ok(self.issue(grant)) }
    }

    /// Older access tokens of the grant go on until they expire.
    fn issue(&mut self, grant: usize) -> Issued {
        let (access_token, refresh_token) = (self.secret("access"), self.secret("refresh"));
        let now = Instant::now();
        self.access_tokens.retain(|_, access| access.until > now);
        self.access_tokens.insert(access_token.clone(), Access { grant, until: now + self.access_token_life });
        self.refresh_tokens.insert(refresh_token.clone(), Refresh { grant, is_spent: false });
        Issued { access_token, refresh_token: Some(refresh_token), expires_in_s: self.access_token_life.as_secs() }
    }

    /// True when requests may carry this token.
    pub fn accepts(&self, access_token: &str) -> bool {
        self.access_tokens
            .get(access_token)
            .is_some_and(|access| access.until > Instant::now() && !self.grants[access.grant].is_revoked)
    }

    /// Ends every sign-in.
    pub fn revoke_all(&mut self) {
        self.grants.iter_mut().for_each(|grant| grant.is_revoked = true);
    }

    /// Ends every access token; refresh tokens go on.
    pub fn expire_access_tokens(&mut self) {
        self.access_tokens.clear();
    }

    fn secret(&mut self, kind: &str) -> String {
        format!("sandbox-{kind}-{:016x}{:016x}", self.draws.bits(), self.draws.bits())
    }
}
