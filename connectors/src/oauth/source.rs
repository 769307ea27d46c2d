//! The one owner of a credential's tokens in a process: refreshes ahead of expiry, one at a time, and stores before use.
//!
//! What can go wrong between a refresh and its storing, and what happens then:
//!
//! * The caller goes away: the refresh runs in a task of its own to its end, still holding the lock.
//! * Another owner in this process refreshes at the same time (a run, and a person who tries the connection): they take turns.
//! * The store cannot be reached: the new tokens are kept, unused, and storing is tried again before anything else.
//! * Another process rotated first: its tokens are loaded and used.
//! * The process dies: the store holds a spent refresh token. The product refuses it, once; that is stored too, and the credential
//!   is `Reauthorise` from then on without another request of any process, until the store holds newer tokens.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;
use reqwest::{StatusCode, header::AUTHORIZATION};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;

use crate::{
    clock,
    connector::{CredentialStore, Tokens},
    error::{Error, ErrorKind, Result},
    http::{HttpClient, Request, Response},
};

/// Gets the next version of some tokens from the product.
pub type Refresh = Arc<dyn Fn(Tokens) -> BoxFuture<'static, Result<Tokens>> + Send + Sync>;

/// The owner of one credential's tokens. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct TokenSource(Arc<Inner>);

struct Inner {
    store: Arc<dyn CredentialStore>,
    refresh: Refresh,
    needs_sign_in: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Stored, and therefore usable.
    current: Option<Usable>,
    /// Refreshed but not stored yet: never used before it is.
    unstored: Option<Tokens>,
    /// What the product refused: not tried again.
    refused: Option<Refused>,
}

/// A refresh token that the product refused, or `None` where it refused to issue tokens without one.
struct Refused(Option<SecretString>);

#[derive(Clone)]
struct Usable {
    tokens: Tokens,
    refresh_from: Option<Timestamp>,
}

/// Why a token is asked for.
#[derive(Clone)]
enum Need {
    /// One that still lasts.
    Fresh,
    /// Another one than this, which the product refused.
    OtherThan(SecretString),
}

/// How often storing that a token was refused is tried.
const REFUSE_TRIES: u32 = 5;

/// How long before its end a token is replaced, at least.
const AHEAD_MIN: Duration = Duration::from_secs(60);

impl TokenSource {
    /// Owns the tokens in `store`, which a person's sign-in put there.
    pub fn new(store: Arc<dyn CredentialStore>, refresh: Refresh) -> Self {
        Self(Arc::new(Inner { store, refresh, needs_sign_in: true, state: Mutex::default() }))
    }

    /// Owns tokens that `refresh` can get without a sign-in (client credentials, a session).
    pub fn issuing(store: Arc<dyn CredentialStore>, refresh: Refresh) -> Self {
        Self(Arc::new(Inner { store, refresh, needs_sign_in: false, state: Mutex::default() }))
    }

    /// An access token that lasts for at least a minute or a tenth of its life, refreshed if need be.
    ///
    /// # Errors
    /// `Reauthorise` when a person must sign in again, `Retry` when product or store cannot be reached.
    pub async fn access_token(&self) -> Result<SecretString> {
        self.token(Need::Fresh).await
    }

    /// Another access token than `refused`, after the product answered 401 to it: one forced refresh, shared by
    /// everybody who holds the refused one.
    ///
    /// # Errors
    /// As [`TokenSource::access_token`].
    pub async fn after_unauthorised(&self, refused: &SecretString) -> Result<SecretString> {
        self.token(Need::OtherThan(refused.clone())).await
    }

    /// Sends `request` once with the token as bearer; after a 401 once more with another token.
    ///
    /// # Errors
    /// As [`TokenSource::access_token`] and [`HttpClient::send_once`]. A second 401 is an answer, not an error.
    pub async fn send(&self, http: &HttpClient, request: Request) -> Result<Response> {
        let token = self.access_token().await?;
        let response = http.send_once(bearing(request.clone(), &token)?).await?;
        if response.status != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        let token = self.after_unauthorised(&token).await?;
        http.send_once(bearing(request, &token)?).await
    }

    async fn token(&self, need: Need) -> Result<SecretString> {
        if let Some(token) = self.at_hand(&need).await {
            return Ok(token);
        }
        // In a task: a caller that is dropped between the product's answer and its storing must not lose the tokens.
        let inner = self.0.clone();
        let task = tokio::spawn(async move { inner.obtain(need).await });
        task.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Bug, "the refresh of an access token was torn down")))
    }

    async fn at_hand(&self, need: &Need) -> Option<SecretString> {
        self.0.state.lock().await.current.as_ref().and_then(|current| current.serving(need))
    }
}

fn bearing(request: Request, token: &SecretString) -> Result<Request> {
    request.with_secret(AUTHORIZATION, &format!("Bearer {}", token.expose_secret()))
}

impl Usable {
    /// As they came from the product.
    fn new(tokens: Tokens) -> Self {
        let life =
            tokens.expires_at.map(|end| Duration::try_from(end.duration_since(clock::now())).unwrap_or_default());
        // A token that lives shorter than two minutes is used for half of its life.
        let ahead = life.map_or(AHEAD_MIN, |life| AHEAD_MIN.max(life / 10).min(life / 2));
        Self::until(tokens, ahead)
    }

    /// As they were found in the store: of their life only the rest is known.
    fn found(tokens: Tokens) -> Self {
        Self::until(tokens, AHEAD_MIN)
    }

    fn until(tokens: Tokens, ahead: Duration) -> Self {
        let refresh_from = tokens.expires_at.map(|end| end.checked_sub(ahead).unwrap_or(end));
        Self { tokens, refresh_from }
    }

    fn is_fresh(&self) -> bool {
        self.refresh_from.is_none_or(|from| clock::now() < from)
    }

    fn serving(&self, need: &Need) -> Option<SecretString> {
        let serves = self.is_fresh()
            && match need {
                Need::Fresh => true,
                Need::OtherThan(refused) => self.tokens.access_token.expose_secret() != refused.expose_secret(),
            };
        serves.then(|| self.tokens.access_token.clone())
    }
}

impl Inner {
    /// Single flight: lock and turn are held from the look at the store to the storing.
    async fn obtain(&self, need: Need) -> Result<SecretString> {
        let mut state = self.state.lock().await;
        if let Some(token) = state.current.as_ref().and_then(|current| current.serving(&need)) {
            return Ok(token);
        }
        let turn = self.store.turn();
        let _turn = turn.lock().await;
        match state.unstored.take() {
            Some(tokens) => self.keep(&mut state, tokens).await?,
            None => state.current = self.store.load().await?.map(Usable::found),
        }
        if let Some(token) = state.current.as_ref().and_then(|current| current.serving(&need)) {
            return Ok(token);
        }
        self.renew(&mut state).await?;
        let current = state.current.as_ref().map(|current| current.tokens.access_token.clone());
        current.ok_or_else(|| Error::new(ErrorKind::Bug, "a refresh left no token"))
    }

    /// Refreshes once; a second time only when another owner put newer tokens in the store meanwhile.
    async fn renew(&self, state: &mut State) -> Result<()> {
        let old = self.old_tokens(state)?;
        if old.refresh_token.is_some() && self.store.is_refused(old.version).await? {
            state.refused = Some(Refused(old.refresh_token));
            return Err(sign_in_again());
        }
        let refused = match (self.refresh)(old.clone()).await {
            Ok(tokens) => return self.keep(state, tokens).await,
            Err(error) if error.kind() == ErrorKind::Reauthorise => error,
            Err(error) => return Err(error),
        };
        state.refused = Some(Refused(old.refresh_token.clone()));
        // Before anything else can fail. Newer tokens have another version.
        self.refuse(&old).await;
        state.current = self.store.load().await?.map(Usable::new);
        match &state.current {
            Some(stored) if is_same(stored.tokens.refresh_token.as_ref(), old.refresh_token.as_ref()) => Err(refused),
            None => Err(refused),
            Some(stored) if stored.is_fresh() => Ok(()),
            Some(stored) => {
                let newer = stored.tokens.clone();
                let outcome = (self.refresh)(newer.clone()).await;
                if outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::Reauthorise) {
                    self.refuse(&newer).await;
                    state.refused = Some(Refused(newer.refresh_token));
                }
                self.keep(state, outcome?).await
            }
        }
    }

    /// Tells every other process that these tokens cannot be refreshed.
    async fn refuse(&self, tokens: &Tokens) {
        if tokens.refresh_token.is_none() {
            return;
        }
        for _ in 0..REFUSE_TRIES {
            match self.store.refuse(tokens.version).await {
                Err(error) if error.kind() == ErrorKind::Retry => {}
                // There is nothing to wait for: at worst another process is refused, too.
                _ => return,
            }
        }
    }

    /// The tokens to refresh.
    fn old_tokens(&self, state: &State) -> Result<Tokens> {
        let old = match &state.current {
            Some(current) => current.tokens.clone(),
            None if self.needs_sign_in => {
                let message = "the credential was never signed in: connect it first";
                return Err(Error::new(ErrorKind::Reauthorise, message));
            }
            None => Tokens { access_token: String::new().into(), refresh_token: None, expires_at: None, version: 0 },
        };
        match &state.refused {
            Some(Refused(refused)) if is_same(refused.as_ref(), old.refresh_token.as_ref()) => Err(sign_in_again()),
            _ => Ok(old),
        }
    }

    /// Stores refreshed tokens; only then are they used.
    async fn keep(&self, state: &mut State, tokens: Tokens) -> Result<()> {
        let Err(error) = self.store.rotate(&tokens).await else {
            state.current = Some(Usable::new(tokens));
            return Ok(());
        };
        match self.store.load().await {
            // Another owner rotated first, or our write arrived and its answer did not: what is stored counts.
            Ok(Some(stored)) if stored.version + 1 != tokens.version => {
                state.current = Some(Usable::new(stored));
                Ok(())
            }
            _ => {
                state.unstored = Some(tokens);
                let message = format!("refreshed tokens cannot be stored yet: {}", error.message());
                Err(Error::new(ErrorKind::Retry, message))
            }
        }
    }
}

fn sign_in_again() -> Error {
    Error::new(ErrorKind::Reauthorise, "the product no longer accepts this sign-in: sign in again")
}

fn is_same(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    one.map(ExposeSecret::expose_secret) == other.map(ExposeSecret::expose_secret)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use async_trait::async_trait;
    use futures::future::join_all;
    use tokio::sync::Notify;

    use super::*;
    use crate::oauth::MemoryCredentials;

    fn tokens(version: u64, seconds_left: i64) -> Tokens {
        Tokens {
            access_token: format!("access-{version}").into(),
            refresh_token: Some(format!("refresh-{version}").into()),
            expires_at: clock::now().checked_add(jiff::SignedDuration::from_secs(seconds_left)).ok(),
            version,
        }
    }

    /// A product whose refresh tokens work once, in order; counts what it is asked.
    #[derive(Default)]
    struct Product {
        next: AtomicUsize,
        asked: AtomicUsize,
        may_answer: Option<Notify>,
    }

    impl Product {
        fn refresh(self: &Arc<Self>) -> Refresh {
            let product = self.clone();
            Arc::new(move |old| {
                let product = product.clone();
                Box::pin(async move {
                    product.asked.fetch_add(1, Ordering::SeqCst);
                    let is_next = old.version as usize == product.next.load(Ordering::SeqCst);
                    if !is_next {
                        return Err(Error::new(ErrorKind::Reauthorise, "invalid_grant"));
                    }
                    product.next.fetch_add(1, Ordering::SeqCst);
                    if let Some(may_answer) = &product.may_answer {
                        may_answer.notified().await;
                    }
                    Ok(tokens(old.version + 1, 3600))
                })
            })
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    /// A store that can be out of reach.
    struct Shaky {
        inner: MemoryCredentials,
        is_down: AtomicBool,
        turn: Arc<Mutex<()>>,
    }

    impl Shaky {
        fn down(tokens: Tokens) -> Arc<Self> {
            let store = Self::up(tokens);
            store.is_down.store(true, Ordering::SeqCst);
            store
        }

        fn up(tokens: Tokens) -> Arc<Self> {
            let (inner, turn) = (MemoryCredentials::new(tokens), Arc::default());
            Arc::new(Self { inner, is_down: AtomicBool::new(false), turn })
        }
    }

    #[async_trait]
    impl CredentialStore for Shaky {
        async fn load(&self) -> Result<Option<Tokens>> {
            self.inner.load().await
        }

        async fn rotate(&self, tokens: &Tokens) -> Result<()> {
            if self.is_down.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::Retry, "the store is out of reach"));
            }
            self.inner.rotate(tokens).await
        }

        async fn refuse(&self, version: u64) -> Result<()> {
            self.inner.refuse(version).await
        }

        async fn is_refused(&self, version: u64) -> Result<bool> {
            self.inner.is_refused(version).await
        }

        fn turn(&self) -> Arc<Mutex<()>> {
            self.turn.clone()
        }

        fn place(self: Arc<Self>, _: crate::connector::TokenPlace) -> Arc<dyn CredentialStore> {
            self
        }
    }

    async fn held(source: &TokenSource) -> String {
        source.access_token().await.unwrap().expose_secret().to_owned()
    }

    #[tokio::test]
    async fn two_owners_in_one_process_refresh_one_after_the_other_and_send_one_request() {
        let product = Arc::new(Product { may_answer: Some(Notify::new()), ..Product::default() });
        let store = Shaky::up(tokens(0, 0));
        let owners = [(); 2].map(|()| TokenSource::new(store.clone(), product.refresh()));
        let mut both = std::pin::pin!(join_all(owners.iter().map(TokenSource::access_token)));
        for _ in 0..100 {
            assert!(futures::poll!(both.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
        product.may_answer.as_ref().expect("it waits").notify_one();
        for token in both.await {
            assert_eq!(token.expect("a token").expose_secret(), "access-1");
        }
        assert_eq!(product.asked(), 1);
    }

    #[tokio::test]
    async fn a_token_is_used_while_it_lasts_and_replaced_ahead_of_its_end() {
        let product = Arc::new(Product::default());
        let store = Arc::new(MemoryCredentials::new(tokens(0, 3600)));
        let source = TokenSource::new(store, product.refresh());
        assert_eq!(held(&source).await, "access-0");
        assert_eq!(product.asked(), 0);
        let store = Arc::new(MemoryCredentials::new(tokens(0, 0)));
        let source = TokenSource::new(store.clone(), product.refresh());
        assert_eq!(held(&source).await, "access-1");
        assert_eq!(held(&source).await, "access-1");
        assert_eq!(product.asked(), 1);
        assert_eq!(store.load().await.unwrap().unwrap().version, 1, "the rotated tokens are stored");
    }

    #[tokio::test]
    async fn fifty_users_at_once_cause_one_refresh() {
        let product = Arc::new(Product::default());
        let source = TokenSource::new(Arc::new(MemoryCredentials::new(tokens(0, 0))), product.refresh());
        let all = join_all((0..50).map(|_| held(&source))).await;
        assert!(all.iter().all(|token| token == "access-1"));
        let refused = SecretString::from("access-1");
        let forced = join_all((0..50).map(|_| source.after_unauthorised(&refused))).await;
        assert!(forced.iter().all(|token| token.as_ref().unwrap().expose_secret() == "access-2"));
        assert_eq!(product.asked(), 2);
    }

    #[tokio::test]
    async fn what_the_product_refused_once_no_process_sends_again() {
        let product = Arc::new(Product::default());
        product.next.store(1, Ordering::SeqCst);
        // As a process left it that died before it could store what it got.
        let store = Arc::new(MemoryCredentials::new(tokens(0, 0)));
        for _ in 0..3 {
            let process = TokenSource::new(store.clone(), product.refresh());
            assert_eq!(process.access_token().await.unwrap_err().kind(), ErrorKind::Reauthorise);
        }
        assert_eq!(product.asked(), 1);
        store.rotate(&tokens(1, 3600)).await.unwrap();
        assert_eq!(held(&TokenSource::new(store, product.refresh())).await, "access-1", "a new sign-in works");
    }

    #[tokio::test]
    async fn tokens_are_not_used_before_they_are_stored_nor_lost_while_the_store_is_away() {
        let product = Arc::new(Product::default());
        let store = Shaky::down(tokens(0, 0));
        let source = TokenSource::new(store.clone(), product.refresh());
        for _ in 0..3 {
            assert_eq!(source.access_token().await.unwrap_err().kind(), ErrorKind::Retry);
        }
        assert_eq!(product.asked(), 1, "the refresh token that came is kept, not asked for again");
        store.is_down.store(false, Ordering::SeqCst);
        assert_eq!(held(&source).await, "access-1");
        assert_eq!((product.asked(), store.load().await.unwrap().unwrap().version), (1, 1));
    }

    #[tokio::test]
    async fn a_process_that_dies_before_storing_leaves_reauthorise_and_no_loop() {
        let product = Arc::new(Product::default());
        let store = Shaky::down(tokens(0, 0));
        assert!(TokenSource::new(store.clone(), product.refresh()).access_token().await.is_err());
        store.is_down.store(false, Ordering::SeqCst);
        let restarted = TokenSource::new(store.clone(), product.refresh());
        for _ in 0..5 {
            assert_eq!(restarted.access_token().await.unwrap_err().kind(), ErrorKind::Reauthorise);
        }
        assert_eq!(product.asked(), 2, "the refused token is tried once");
        // A person signs in again: the same source goes on.
        store.rotate(&Tokens { version: 1, ..tokens(9, 3600) }).await.unwrap();
        assert_eq!(held(&restarted).await, "access-9");
    }

    #[tokio::test]
    async fn what_another_owner_rotated_is_loaded_and_used() {
        let product = Arc::new(Product::default());
        let store = Arc::new(MemoryCredentials::new(tokens(0, 3600)));
        let (one, other) =
            (TokenSource::new(store.clone(), product.refresh()), TokenSource::new(store.clone(), product.refresh()));
        let refused = SecretString::from(held(&one).await);
        assert_eq!(held(&other).await, "access-0");
        assert_eq!(one.after_unauthorised(&refused).await.unwrap().expose_secret(), "access-1");
        assert_eq!(other.after_unauthorised(&refused).await.unwrap().expose_secret(), "access-1");
        assert_eq!(product.asked(), 1);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_does_not_lose_the_rotated_token() {
        let product = Arc::new(Product { may_answer: Some(Notify::new()), ..Product::default() });
        let store = Arc::new(MemoryCredentials::new(tokens(0, 0)));
        let source = TokenSource::new(store.clone(), product.refresh());
        {
            let mut asking = std::pin::pin!(source.access_token());
            while product.asked() == 0 {
                assert!(futures::poll!(asking.as_mut()).is_pending());
                tokio::task::yield_now().await;
            }
        }
        // The product has spent the old token and answers only now, when nobody waits any more.
        product.may_answer.as_ref().unwrap().notify_one();
        assert_eq!(held(&source).await, "access-1");
        assert_eq!((product.asked(), store.load().await.unwrap().unwrap().version), (1, 1));
    }

    #[tokio::test]
    async fn a_credential_that_was_never_signed_in_says_so() {
        let product = Arc::new(Product::default());
        let source = TokenSource::new(Arc::new(MemoryCredentials::empty()), product.refresh());
        let error = source.access_token().await.unwrap_err();
        assert_eq!((error.kind(), product.asked()), (ErrorKind::Reauthorise, 0));
        let source = TokenSource::issuing(Arc::new(MemoryCredentials::empty()), product.refresh());
        assert_eq!(held(&source).await, "access-1");
    }

    #[tokio::test]
    async fn tokens_that_a_product_refuses_to_issue_are_not_asked_for_again() {
        let product = Arc::new(Product { next: AtomicUsize::new(9), ..Product::default() });
        let source = TokenSource::issuing(Arc::new(MemoryCredentials::empty()), product.refresh());
        for _ in 0..5 {
            assert_eq!(source.access_token().await.unwrap_err().kind(), ErrorKind::Reauthorise);
        }
        assert_eq!(product.asked(), 1);
    }
}
