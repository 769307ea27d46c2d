//! The authorization-code flow with PKCE S256 (RFC 6749, RFC 7636), refresh, and client credentials.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use oauth2::{
    AccessToken, AuthType, AuthorizationCode, Client, ClientId, ClientSecret, EmptyExtraTokenFields, EndpointNotSet,
    EndpointSet, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope,
    StandardRevocableToken, StandardTokenIntrospectionResponse, TokenResponse, TokenUrl,
    basic::{BasicErrorResponse, BasicErrorResponseType, BasicRevocationErrorResponse, BasicTokenType},
};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{
    answer::TokenAnswer,
    exchange::{Exchange, Failure, told},
    placeholder,
    source::{Refresh, TokenSource},
};
use crate::{
    catalog::{OAuth2SignIn, text_at},
    clock,
    connector::{CredentialStore, Settings, Tokens},
    error::{Error, ErrorKind, Problem, Result},
    http::{HttpClient, redact_url},
};

/// The secret half of a PKCE pair: kept with the state of the sign-in, sent with the code.
pub type PkceVerifier = SecretString;

type TokenClient = Client<
    BasicErrorResponse,
    TokenAnswer,
    StandardTokenIntrospectionResponse<EmptyExtraTokenFields, BasicTokenType>,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Signing one credential in to one product. Cheap to clone.
#[derive(Clone)]
pub struct AuthorizationFlow {
    inner: Arc<Inner>,
    http: HttpClient,
}

struct Inner {
    sign_in: OAuth2SignIn,
    settings: Settings,
    client_id: String,
    client_secret: Option<SecretString>,
    token_url: Url,
}

impl AuthorizationFlow {
    /// Binds a sign-in to settings that hold the OAuth client's id and, unless it is a public client, its secret.
    ///
    /// # Errors
    /// `Invalid` with every missing setting and every URL that cannot be built.
    pub fn new(sign_in: &OAuth2SignIn, settings: &Settings, http: HttpClient) -> Result<Self> {
        let client_id = text_at(settings.expose(), &sign_in.client_id_path);
        let mut problems = Vec::new();
        if client_id.is_none() {
            let place = format!("/{}", sign_in.client_id_path.join("/"));
            problems.push(Problem { place, message: "enter the id of the OAuth client".to_owned() });
        }
        let names = BTreeMap::from([("client_id_value", client_id.unwrap_or_default())]);
        let token_url = placeholder::fill(&sign_in.token_url, &names, settings.expose()).and_then(|url| absolute(&url));
        if let Err(error) = &token_url {
            problems.push(Problem { place: "token_url".to_owned(), message: error.to_string() });
        }
        match (client_id, token_url) {
            (Some(client_id), Ok(token_url)) => {
                let client_secret = text_at(settings.expose(), &sign_in.client_secret_path).map(SecretString::from);
                let inner = Inner {
                    sign_in: sign_in.clone(),
                    settings: settings.clone(),
                    client_id: client_id.to_owned(),
                    client_secret,
                    token_url,
                };
                Ok(Self { inner: Arc::new(inner), http })
            }
            _ => Err(Error::invalid("the OAuth sign-in cannot begin", problems)),
        }
    }

    /// Where to send the person's browser, and the verifier to keep until it comes back with a code.
    ///
    /// `state` is the caller's: 256 random bits bound to the person who started.
    ///
    /// # Errors
    /// `Invalid` when the authorization URL cannot be built from the settings.
    pub fn start(&self, redirect_uri: &str, state: &str) -> Result<(Url, PkceVerifier)> {
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let scope = self.inner.sign_in.scopes.join(" ");
        let parameters = [
            ("response_type", "code"),
            ("client_id", &self.inner.client_id),
            ("redirect_uri", redirect_uri),
            ("scope", &scope),
            ("state", state),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let names = BTreeMap::from([
            ("client_id_key", "client_id"),
            ("client_id_value", self.inner.client_id.as_str()),
            ("redirect_uri_key", "redirect_uri"),
            ("redirect_uri_value", redirect_uri),
            ("scope_key", "scope"),
            ("scope_value", &scope),
            ("state_key", "state"),
            ("state_value", state),
        ]);
        let filled = placeholder::fill(&self.inner.sign_in.authorize_url, &names, self.inner.settings.expose())?;
        let mut url = absolute(&filled)?;
        // A template may already name some of them; the rest of the standard's parameters are added.
        let named: Vec<String> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
        let missing = parameters.iter().filter(|(name, value)| !value.is_empty() && !named.iter().any(|n| n == name));
        url.query_pairs_mut().extend_pairs(missing);
        // A browser shows its address.
        if self.http.guarded().is_some_and(|secret| secret.is_in_url(&url)) {
            let message = "the address of the sign-in would show the secret of the OAuth app: correct `consent_url` in the manifest";
            return Err(Error::new(ErrorKind::Denied, message));
        }
        Ok((url, SecretString::from(verifier.into_secret())))
    }

    /// Exchanges the code that the browser brought back, with the `redirect_uri` of its start.
    ///
    /// # Errors
    /// `Reauthorise` when the product refuses the code, `Invalid` when it refuses the OAuth client.
    pub async fn exchange(&self, code: &str, verifier: PkceVerifier, redirect_uri: &str) -> Result<Tokens> {
        let redirect_uri = RedirectUrl::new(redirect_uri.to_owned())
            .map_err(|_| Error::new(ErrorKind::Invalid, "the redirect address is no URL"))?;
        let code = AuthorizationCode::new(code.to_owned());
        let answer = self.request(&Grant::Code { code, verifier, redirect_uri }).await?;
        Ok(tokens(&answer, None, 0))
    }

    /// Exchanges the refresh token of `tokens` for the next version of them. A product that sends no new refresh
    /// token means that the old one stays.
    ///
    /// # Errors
    /// `Reauthorise` when there is no refresh token or the product no longer accepts it.
    pub async fn refresh(&self, old: &Tokens) -> Result<Tokens> {
        let Some(refresh) = &old.refresh_token else {
            let message = "the access token has ended and the product gave no refresh token: sign in again";
            return Err(Error::new(ErrorKind::Reauthorise, message));
        };
        let token = RefreshToken::new(refresh.expose_secret().to_owned());
        let answer = self.request(&Grant::Refresh(token)).await?;
        Ok(tokens(&answer, old.refresh_token.clone(), old.version + 1))
    }

    /// Gets tokens for the OAuth client itself, without a person.
    ///
    /// # Errors
    /// `Invalid` when the product refuses the client.
    pub async fn client_credentials(&self, old_version: u64) -> Result<Tokens> {
        let answer = self.request(&Grant::Client).await?;
        Ok(tokens(&answer, None, old_version + 1))
    }

    /// The owner of this credential's tokens, refreshing them by this flow.
    pub fn token_source(&self, store: Arc<dyn CredentialStore>) -> TokenSource {
        let flow = self.clone();
        let refresh: Refresh = Arc::new(move |old| {
            let flow = flow.clone();
            Box::pin(async move { flow.refresh(&old).await })
        });
        TokenSource::new(store, refresh)
    }

    /// The owner of tokens that the OAuth client gets for itself.
    pub fn client_token_source(&self, store: Arc<dyn CredentialStore>) -> TokenSource {
        let flow = self.clone();
        let refresh: Refresh = Arc::new(move |old| {
            let flow = flow.clone();
            Box::pin(async move { flow.client_credentials(old.version).await })
        });
        TokenSource::issuing(store, refresh)
    }

    /// Sends one token request: client credentials in the body first, as nearly all products take them, and as HTTP
    /// basic when the product does not know the client that way (RFC 6749 section 2.3.1 allows both).
    async fn request(&self, grant: &Grant) -> Result<TokenAnswer> {
        let outcome = match self.request_as(AuthType::RequestBody, grant).await {
            Err(RequestTokenError::ServerResponse(answer))
                if *answer.error() == BasicErrorResponseType::InvalidClient && self.inner.client_secret.is_some() =>
            {
                self.request_as(AuthType::BasicAuth, grant).await
            }
            outcome => outcome,
        };
        outcome.map_err(|failure| told(failure).with("url", redact_url(&self.inner.token_url)))
    }

    async fn request_as(&self, auth_type: AuthType, grant: &Grant) -> Result<TokenAnswer, Failure> {
        let exchange = Exchange(self.http.clone());
        let client = self.client(auth_type);
        match grant {
            Grant::Code { code, verifier, redirect_uri } => {
                client
                    .exchange_code(code.clone())
                    .set_redirect_uri(Cow::Borrowed(redirect_uri))
                    .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose_secret().to_owned()))
                    .request_async(&exchange)
                    .await
            }
            Grant::Refresh(token) => client.exchange_refresh_token(token).request_async(&exchange).await,
            Grant::Client => {
                let scopes = self.inner.sign_in.scopes.iter().cloned().map(Scope::new);
                client.exchange_client_credentials().add_scopes(scopes).request_async(&exchange).await
            }
        }
    }

    fn client(&self, auth_type: AuthType) -> TokenClient {
        let client = Client::new(ClientId::new(self.inner.client_id.clone()))
            .set_auth_type(auth_type)
            .set_token_uri(TokenUrl::from_url(self.inner.token_url.clone()));
        match &self.inner.client_secret {
            Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned())),
            None => client,
        }
    }
}

/// What is exchanged for tokens.
enum Grant {
    Code { code: AuthorizationCode, verifier: PkceVerifier, redirect_uri: RedirectUrl },
    Refresh(RefreshToken),
    Client,
}

fn tokens(answer: &TokenAnswer, old_refresh: Option<SecretString>, version: u64) -> Tokens {
    Tokens {
        access_token: SecretString::from(AccessToken::clone(answer.access_token()).into_secret()),
        refresh_token: answer.refresh_token().map(|token| SecretString::from(token.secret().clone())).or(old_refresh),
        expires_at: answer.expires_in().and_then(|lifetime| clock::now().checked_add(lifetime).ok()),
        version,
    }
}

pub(super) fn absolute(text: &str) -> Result<Url> {
    Url::parse(text).map_err(|error| Error::new(ErrorKind::Invalid, format!("a sign-in URL is wrong: {error}")))
}
