//! The tokens of a source's sign-ins, in its credential's seal, as connectors load and rotate them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use async_trait::async_trait;
use listbackup_connectors::{self as connectors, CredentialStore, TokenPlace, Tokens};

use super::{
    RunContext,
    credential::{PlacedTokens, Secrets, StoredTokens, open, read_credential, seal},
};
use crate::{
    error::{Error, ErrorKind, Result},
    invariants,
    model::{Credential, KeyId, scope::AccountScope},
    ports::{Condition, Ports},
    store::{self, Store, Versioned},
};

/// The turns of a process in refreshing tokens, one a credential.
#[derive(Debug, Default)]
pub struct Turns(Mutex<BTreeMap<KeyId, Weak<Turn>>>);

type Turn = tokio::sync::Mutex<()>;

/// Turns that nobody waits for are forgotten when there are so many.
const TURNS_MAX: usize = 1024;

impl Turns {
    fn of(&self, key_id: KeyId) -> Arc<Turn> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(&key_id).and_then(Weak::upgrade) {
            return turn;
        }
        if turns.len() >= TURNS_MAX {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::new(Turn::default());
        turns.insert(key_id, Arc::downgrade(&turn));
        turn
    }
}

/// Tokens of one sign-in of a source.
pub(super) struct SourceTokens {
    turn: Arc<Turn>,
    ports: Ports,
    scope: AccountScope,
    key_id: Option<KeyId>,
    /// `None` is the sign-in that a person makes in the browser.
    place: Option<TokenPlace>,
}

impl SourceTokens {
    /// Those of the sign-in in the browser; a source without credential has none.
    pub fn new(ctx: &RunContext, scope: &AccountScope, key_id: Option<KeyId>) -> Self {
        let turn = key_id.map(|key_id| ctx.turns.of(key_id)).unwrap_or_default();
        Self { turn, ports: ctx.ports.clone(), scope: *scope, key_id, place: None }
    }

    async fn read(&self) -> Result<Option<(Versioned<Credential>, Secrets)>> {
        let Some(key_id) = self.key_id else { return Ok(None) };
        let credential = read_credential(&self.ports, &self.scope, key_id).await?;
        let secrets = open(&self.ports, self.scope.account_id(), &credential.row).await?;
        Ok(Some((credential, secrets)))
    }

    /// The present tokens of this sign-in.
    fn held(&self, row: &Credential, secrets: &Secrets) -> Option<Tokens> {
        let unplaced = || secrets.tokens.as_ref().map(|tokens| tokens.opened(row.token_version));
        let Some(place) = &self.place else { return unplaced() };
        match secrets.places.get(&place.name) {
            Some(placed) => Some(placed.tokens.opened(placed.version)),
            None if place.inherits => unplaced(),
            None => None,
        }
    }

    fn place_name(&self) -> &str {
        self.place.as_ref().map_or("", |place| &place.name)
    }

    async fn note_refusal(&self, refused: u64) -> Result<()> {
        while let Some((Versioned { mut row, version }, mut secrets)) = self.read().await? {
            // Whoever was held up tells of tokens that others have replaced since, and perhaps of no news.
            if secrets.refused.get(self.place_name()).is_some_and(|newest| *newest >= refused) {
                break;
            }
            secrets.refused.insert(self.place_name().to_owned(), refused);
            row.sealed = seal(&self.ports, &row, &secrets).await?;
            let write = store::put(&row, Condition::Version(version))?;
            match Store::new(self.ports.tables.clone()).transact(&self.scope, vec![write]).await {
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
        Ok(())
    }

    async fn write(&self, tokens: &Tokens) -> Result<()> {
        let lost = || Error::new(ErrorKind::Retry, "another owner has rotated the tokens; load them again");
        loop {
            let (Versioned { mut row, version }, mut secrets) = self.read().await?.ok_or_else(lost)?;
            let nothing_yet = if self.place.is_none() { row.token_version } else { 0 };
            let present = self.held(&row, &secrets).map_or(nothing_yet, |held| held.version);
            invariants::tokens_follow(present, tokens.version).map_err(|_| lost())?;
            match &self.place {
                None => {
                    secrets.tokens = Some(StoredTokens::of(tokens));
                    row.token_version = tokens.version;
                    row.expires_at = tokens.expires_at;
                }
                Some(place) => {
                    let placed = PlacedTokens { version: tokens.version, tokens: StoredTokens::of(tokens) };
                    if secrets.places.insert(place.name.clone(), placed).is_none() && place.inherits {
                        secrets.tokens = None;
                    }
                }
            }
            row.sealed = seal(&self.ports, &row, &secrets).await?;
            row.updated_at = self.ports.clock.now();
            let write = store::put(&row, Condition::Version(version))?;
            match Store::new(self.ports.tables.clone()).transact(&self.scope, vec![write]).await {
                // Perhaps another sign-in of the same credential: looked at again. Each time somebody has got on.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                done => return done,
            }
        }
    }
}

/// True when the product refused to refresh the tokens that some sign-in of a credential holds: only a person can get others.
/// A stream that is refused by itself says nothing of the others.
///
/// # Errors
/// `Retry` from the stores.
pub(super) async fn is_lost(ctx: &RunContext, scope: &AccountScope, key_id: Option<KeyId>) -> Result<bool> {
    let unplaced = SourceTokens::new(ctx, scope, key_id);
    let Some((Versioned { row, .. }, secrets)) = unplaced.read().await? else { return Ok(false) };
    Ok(secrets.refused.iter().any(|(place, refused)| {
        let placed = secrets.places.get(place).map(|placed| placed.version);
        placed.or(secrets.tokens.is_some().then_some(row.token_version)) == Some(*refused)
    }))
}

#[async_trait]
impl CredentialStore for SourceTokens {
    async fn load(&self) -> connectors::Result<Option<Tokens>> {
        let read = self.read().await.map_err(|error| for_connector(&error))?;
        Ok(read.and_then(|(credential, secrets)| self.held(&credential.row, &secrets)))
    }

    async fn rotate(&self, tokens: &Tokens) -> connectors::Result<()> {
        self.write(tokens).await.map_err(|error| for_connector(&error))
    }

    async fn refuse(&self, version: u64) -> connectors::Result<()> {
        self.note_refusal(version).await.map_err(|error| for_connector(&error))
    }

    async fn is_refused(&self, version: u64) -> connectors::Result<bool> {
        let read = self.read().await.map_err(|error| for_connector(&error))?;
        Ok(read.is_some_and(|(_, secrets)| secrets.refused.get(self.place_name()) == Some(&version)))
    }

    fn turn(&self) -> Arc<Turn> {
        self.turn.clone()
    }

    fn place(self: Arc<Self>, place: TokenPlace) -> Arc<dyn CredentialStore> {
        let (turn, ports) = (self.turn.clone(), self.ports.clone());
        Arc::new(Self { turn, ports, scope: self.scope, key_id: self.key_id, place: Some(place) })
    }
}

/// The connector can only wait or give up.
fn for_connector(error: &Error) -> connectors::Error {
    let kind = match error.kind() {
        ErrorKind::Retry | ErrorKind::Conflict | ErrorKind::RateLimited | ErrorKind::Exhausted => {
            connectors::ErrorKind::Retry
        }
        _ => connectors::ErrorKind::Bug,
    };
    connectors::Error::new(kind, format!("the credential's store: {error}"))
}
