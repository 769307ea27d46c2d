//! Invitations into an account: for one address, good once, until they end or are revoked. Only the hash of the token is kept; the token
//! is in the letter and nowhere else.

use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::{ATTEMPTS_MAX, Acting, Changed, Office, letters_sent, lost, members::allow_ownership, never_still};
use crate::{
    error::{Error, ErrorKind, Problem, Result},
    letters::{self, InvitationFacts},
    model::{
        Account, ActivityKind, Invitation, InvitationId, Membership, Role, User, UserId,
        scope::AccountScope,
        user::{MembershipStatus, normal_address},
    },
    ports::{Condition, Query, SortRange, Write},
    run::event,
    store::{Versioned, key, key1, put},
    tables::USERS_ACCOUNTS,
    token,
};

/// How long an invitation is good.
pub const LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The most invitations that an account has open at a time.
pub const OPEN_MAX: usize = 200;
/// What keys of invitations start with in the table of memberships.
const INVITATIONS: &str = "inv_";

impl Office<'_> {
    /// Invites an address. With an id that is there already, its letter is sent again.
    ///
    /// # Errors
    /// `Invalid` for what is no address; `OverLimit` when the plan has no place for one more; `RateLimited` when the account has sent
    /// too many letters; `Denied` when ownership is given by somebody who may not; `Conflict` when the address is invited or a member already, or too many
    /// invitations are open; those of sending the letter, after which it can be sent again.
    pub async fn invite(
        &self,
        acting: Acting<'_>,
        invitation_id: InvitationId,
        email: &str,
        role: Role,
    ) -> Result<Changed<Invitation>> {
        allow_ownership(acting, [role])?;
        let email = normal_address(email).ok_or_else(no_address)?;
        let account_id = acting.account_id();
        if self.store.find::<Invitation>(acting.scope, key(invitation_id, account_id)).await?.is_some() {
            return self.invite_again(acting, invitation_id).await;
        }
        self.check_new(acting.scope, &email).await?;
        let (code, now) = (token::new("", &*self.ports.random), self.ports.clock.now());
        let invitation = Invitation {
            invitation_id,
            account_id,
            email,
            role,
            status: MembershipStatus::Invited,
            invitation_hash: token::hash(code.expose_secret()),
            invitation_expires_at: now + LIFE,
            invited_by: acting.actor.to_owned(),
            created_at: now,
            sent_again_at: Vec::new(),
        };
        let details = [("email", json!(invitation.email)), ("role", json!(role))];
        let told = acting.told(self.ports, ActivityKind::MemberInvited, details);
        let writes = vec![put(&invitation, Condition::Absent)?, event::keep(&told)?];
        self.keep_new(acting, invitation_id, writes).await?;
        self.send(acting.scope, &invitation, &code).await?;
        Ok(Changed { row: invitation, events: vec![told] })
    }

    /// Writes a new invitation, as far as the plan of who pays allows one more and the account may send one more letter.
    async fn keep_new(&self, acting: Acting<'_>, invitation_id: InvitationId, writes: Vec<Write>) -> Result<()> {
        let account_id = acting.account_id();
        for _ in 0..ATTEMPTS_MAX {
            let account = self.store.get::<Account>(acting.scope, key1(account_id)).await?;
            let gate = self.allowance().member(account_id, &invitation_id.to_string()).await?;
            let mut writes = writes.clone();
            writes.push(letters_sent::one_more(account, self.ports.clock.now())?);
            let done = self.transact(acting, writes, gate).await;
            let place = key(invitation_id, account_id);
            if !lost(&done) || self.store.find::<Invitation>(acting.scope, place).await?.is_some() {
                return done;
            }
        }
        Err(never_still())
    }

    /// Sends an invitation again: with another token, good as long as a new one. The earlier token is good no more.
    ///
    /// # Errors
    /// `NotFound`; `RateLimited` when it, or the account, has sent too many letters; those of sending the letter.
    pub async fn invite_again(&self, acting: Acting<'_>, invitation_id: InvitationId) -> Result<Changed<Invitation>> {
        let place = key(invitation_id, acting.account_id());
        for _ in 0..ATTEMPTS_MAX {
            let mut found = self.store.get::<Invitation>(acting.scope, place.clone()).await?;
            let account = self.store.get::<Account>(acting.scope, key1(acting.account_id())).await?;
            let (code, now) = (token::new("", &*self.ports.random), self.ports.clock.now());
            letters_sent::note_again(&mut found.row, now)?;
            found.row.invitation_hash = token::hash(code.expose_secret());
            found.row.invitation_expires_at = now + LIFE;
            let write = put(&found.row, Condition::Version(found.version))?;
            let writes = vec![write, letters_sent::one_more(account, now)?];
            let done = self.store.transact(acting.scope, writes).await;
            if !lost(&done) {
                done?;
                self.send(acting.scope, &found.row, &code).await?;
                return Ok(Changed { row: found.row, events: Vec::new() });
            }
        }
        Err(never_still())
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// `NotFound` when there is none, any more or yet.
    pub async fn revoke(&self, acting: Acting<'_>, invitation_id: InvitationId) -> Result<Changed<Invitation>> {
        let place = key(invitation_id, acting.account_id());
        let found = self.store.get::<Invitation>(acting.scope, place.clone()).await?;
        let details = [("email", json!(found.row.email)), ("role", json!(found.row.role))];
        let told = acting.told(self.ports, ActivityKind::MemberInvitationRevoked, details);
        let condition = Condition::Version(found.version);
        let gone = Write::Delete { table: &USERS_ACCOUNTS, key: place, condition };
        self.store.transact(acting.scope, vec![gone, event::keep(&told)?]).await?;
        Ok(Changed { row: found.row, events: vec![told] })
    }

    /// Makes a person a member by the token of an invitation to their address; once.
    ///
    /// # Errors
    /// `Denied` for a token that is unknown, used, revoked, expired or for another address; `Conflict` for a member.
    pub async fn accept(&self, user_id: UserId, code: &SecretString) -> Result<Changed<Membership>> {
        let hash = token::hash(code.expose_secret());
        for _ in 0..ATTEMPTS_MAX {
            let found = self.store.find_by::<Invitation>(self.system, "by-invitation", &hash).await?;
            let now = self.ports.clock.now();
            let found = found.filter(|found| now < found.row.invitation_expires_at).ok_or_else(no_invitation)?;
            let user = self.store.get::<User>(self.system, key1(user_id)).await?.row;
            if user.email != found.row.email {
                let message = "this invitation is for another address; sign in with the one that it was sent to";
                return Err(Error::new(ErrorKind::Denied, message));
            }
            let membership = member(&found.row, user_id, now);
            let place = key(user_id, membership.account_id);
            if self.store.find::<Membership>(self.system, place).await?.is_some() {
                return Err(Error::new(ErrorKind::Conflict, "you are a member of this account already"));
            }
            let told = event::of_membership(self.ports, &membership, &user_id.to_string(), None);
            let writes = vec![used(&found), put(&membership, Condition::Absent)?, event::keep(&told)?];
            let done = self.store.transact(self.system, writes).await;
            if !lost(&done) {
                return done.map(|()| Changed { row: membership, events: vec![told] });
            }
        }
        Err(never_still())
    }

    /// The open invitations of an account.
    pub fn invitations(scope: &AccountScope) -> Query {
        Query {
            table: &USERS_ACCOUNTS,
            index: Some("by-account"),
            partition: scope.account_id().to_string(),
            sort: SortRange::Prefix(INVITATIONS.to_owned()),
            descending: false,
            limit: OPEN_MAX,
            after: None,
        }
    }

    async fn check_new(&self, scope: &AccountScope, email: &str) -> Result<()> {
        let open: Vec<Invitation> = self.store.rows(scope, Self::invitations(scope)).try_collect().await?;
        if open.iter().any(|other| other.email == email) {
            return Err(Error::new(ErrorKind::Conflict, "this address is invited already; send its invitation again"));
        }
        if open.len() >= OPEN_MAX {
            let message = format!("{OPEN_MAX} invitations are open already; revoke those that nobody will accept");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let Some(user) = self.store.find_by::<User>(self.system, "by-email", email).await? else { return Ok(()) };
        match self.store.find::<Membership>(scope, key(user.row.user_id, scope.account_id())).await? {
            Some(_) => Err(Error::new(ErrorKind::Conflict, "this address is a member's already")),
            None => Ok(()),
        }
    }

    async fn send(&self, scope: &AccountScope, invitation: &Invitation, code: &SecretString) -> Result<()> {
        let account = self.store.get::<Account>(scope, key1(scope.account_id())).await?.row;
        let facts = InvitationFacts {
            account: &account.name,
            code: code.expose_secret(),
            expires_at: invitation.invitation_expires_at,
            link: None,
        };
        self.ports.mail.send(&letters::invitation(&invitation.email, &facts)).await
    }
}

fn member(invitation: &Invitation, user_id: UserId, now: Timestamp) -> Membership {
    let Invitation { account_id, role, .. } = *invitation;
    Membership { user_id, account_id, role, status: MembershipStatus::Active, created_at: now }
}

fn used(found: &Versioned<Invitation>) -> Write {
    let key = key(found.row.invitation_id, found.row.account_id);
    Write::Delete { table: &USERS_ACCOUNTS, key, condition: Condition::Version(found.version) }
}

fn no_address() -> Error {
    let problem = Problem { place: "/email".to_owned(), message: "must be an e-mail address".to_owned() };
    Error::invalid("nobody can be invited so", vec![problem])
}

fn no_invitation() -> Error {
    Error::new(ErrorKind::Denied, "the invitation is unknown, used, revoked or expired; ask for another one")
}
