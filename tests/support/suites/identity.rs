//! The promises of the identity port.

mod guesses;
mod passwords;
mod second_factor;
mod sessions;

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, jwk::JwkSet};
use listbackup_engine::{
    ErrorKind,
    model::{Account, Membership, Role, User, UserId, user::MembershipStatus},
    ports::{Challenge, Condition, Identity, Person, Query, SignIn, SignedIn, SortRange},
    store::{self, Store},
    tables::{Row, USERS, USERS_ACCOUNTS},
};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::support::{Subject, pass};

const PASSWORD: &str = "correct horse battery";
/// Where people are, unless a test says so.
pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The ports, and a way to read the letters that an address got, oldest first.
pub struct Signing<'a> {
    pub subject: &'a Subject,
    pub letters: &'a dyn Fn(&str) -> Vec<String>,
}

/// Where a stand-in for a user pool does not do what the service does.
#[derive(Clone, Copy, Default)]
pub struct Known {
    /// It cannot mail a code again.
    pub sends_no_code_again: bool,
    /// It can neither refresh a session in the way of today nor end one.
    pub has_no_sessions: bool,
    /// It ends sessions that are more than a second old, and these are not.
    pub ends_old_sessions: bool,
    /// It takes any code for one of a letter.
    pub takes_any_letter: bool,
    /// It takes any code for one of an authenticator app.
    pub takes_any_code: bool,
    /// It does not look at the session of a question, or tells an unknown one like an unknown pool.
    pub knows_no_questions: bool,
}

/// Those that do not rest on what a user pool keeps by itself: the life of its codes, letters, tokens and guesses.
pub async fn keeps_those_of_a_pool(signing: &Signing<'_>, known: Known) {
    signing.a_person_registers_proves_the_address_and_signs_in().await;
    signing.registrations_are_checked_with_all_problems_at_once().await;
    if !known.sends_no_code_again {
        signing.a_registered_address_is_answered_alike_and_keeps_its_password().await;
    }
    signing.failed_sign_ins_are_told_alike().await;
    signing.work_in_an_account_needs_a_place_there_or_above().await;
    signing.who_has_no_account_does_not_sign_in().await;
    if !known.has_no_sessions {
        signing.signing_out_ends_the_session().await;
        signing.who_loses_the_account_loses_the_session().await;
        signing.switching_goes_on_in_an_account_of_the_person_and_in_no_other().await;
    }
    signing.a_new_password_is_set_by_a_letter_and_ends_sign_ins(known).await;
    signing.whoever_asks_for_a_new_password_is_answered_alike().await;
    signing.a_new_password_is_set_by_the_old_one_and_ends_sign_ins(known).await;
    signing.signing_out_everywhere_ends_every_sign_in(known).await;
    signing.a_second_factor_is_asked_for_until_it_is_turned_off(known).await;
    signing.a_new_password_keeps_the_second_factor().await;
}

/// Every promise, one after another.
pub async fn keeps_all(signing: &Signing<'_>) {
    signing.a_person_registers_proves_the_address_and_signs_in().await;
    signing.registrations_are_checked_with_all_problems_at_once().await;
    signing.codes_are_used_once_and_expire().await;
    signing.a_registered_address_is_answered_like_a_new_one().await;
    signing.a_stranger_cannot_slip_in_a_password().await;
    signing.a_refresh_token_is_used_once_and_reuse_ends_the_family().await;
    signing.signing_out_ends_the_session().await;
    signing.who_loses_the_account_loses_the_session().await;
    signing.switching_goes_on_in_an_account_of_the_person_and_in_no_other().await;
    signing.a_switch_that_is_refused_leaves_the_session_as_it_is().await;
    signing.failed_sign_ins_are_told_alike().await;
    signing.guessing_is_slowed_down_and_denies_nobody().await;
    signing.many_who_guess_together_keep_the_owner_out_of_no_place_that_is_theirs().await;
    signing.access_tokens_are_verified_by_the_published_keys().await;
    signing.work_in_an_account_needs_a_place_there_or_above().await;
    let known = Known::default();
    signing.a_new_password_is_set_by_a_letter_and_ends_sign_ins(known).await;
    signing.whoever_asks_for_a_new_password_is_answered_alike().await;
    signing.asking_for_letters_ends_no_code_and_floods_nobody().await;
    signing.guesses_of_letters_are_limited_and_keep_nobody_out().await;
    signing.a_new_password_is_set_by_the_old_one_and_ends_sign_ins(known).await;
    signing.signing_out_everywhere_ends_every_sign_in(known).await;
    signing.a_second_factor_is_asked_for_until_it_is_turned_off(known).await;
    signing.a_new_password_keeps_the_second_factor().await;
    signing.a_code_counts_once_and_for_a_minute_and_a_half().await;
    signing.a_code_that_comes_twice_at_one_time_lets_one_in().await;
    signing.a_recovery_code_counts_once().await;
    signing.a_question_is_answered_once_and_in_time().await;
    signing.guesses_of_codes_are_limited_and_keep_nobody_out().await;
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

/// As whom somebody asks who is signed in.
fn person(signed_in: &SignedIn) -> Person<'_> {
    Person { user_id: signed_in.user_id, access_token: &signed_in.access_token }
}

impl Signing<'_> {
    fn identity(&self) -> &dyn Identity {
        &*self.subject.ports.identity
    }

    fn store(&self) -> Store {
        Store::new(self.subject.ports.tables.clone())
    }

    fn address(&self) -> String {
        format!("{}@example.com", self.subject.unique("ada"))
    }

    /// The code in the latest letter.
    fn code(&self, email: &str) -> SecretString {
        let letters = (self.letters)(email);
        let code = letters.iter().rev().flat_map(|letter| letter.lines()).find_map(|line| line.strip_prefix("Code: "));
        secret(code.expect("a letter with a code"))
    }

    async fn person(&self) -> (String, UserId) {
        let email = self.address();
        self.identity().register(&email, &secret(PASSWORD), "Ada").await.unwrap();
        let user_id = self.identity().verify(&email, &self.code(&email)).await.unwrap();
        (email, user_id)
    }

    async fn sign_in(&self, email: &str) -> SignedIn {
        self.sign_in_with(email, PASSWORD).await
    }

    async fn sign_in_with(&self, email: &str, password: &str) -> SignedIn {
        match self.identity().sign_in(email, &secret(password), None, HERE).await.unwrap() {
            SignIn::Done(signed_in) => signed_in,
            SignIn::SecondFactor(_) => panic!("{email} was asked for a second factor"),
        }
    }

    async fn question(&self, email: &str, password: &str) -> Challenge {
        match self.identity().sign_in(email, &secret(password), None, HERE).await.unwrap() {
            SignIn::Done(_) => panic!("{email} was not asked for a second factor"),
            SignIn::SecondFactor(challenge) => challenge,
        }
    }

    async fn refused(&self, email: &str, password: &str) -> (ErrorKind, String) {
        match self.identity().sign_in(email, &secret(password), None, HERE).await {
            Ok(_) => panic!("{email} was let in"),
            Err(error) => (error.kind(), error.to_string()),
        }
    }

    async fn rows<R: Row>(&self, query: Query) -> Vec<R> {
        let page = self.store().query::<R>(&self.subject.system, query).await.unwrap();
        page.rows.into_iter().map(|found| found.row).collect()
    }

    async fn memberships(&self, user_id: UserId) -> Vec<Membership> {
        self.rows(query(&USERS_ACCOUNTS, None, &user_id.to_string())).await
    }

    async fn a_person_registers_proves_the_address_and_signs_in(&self) {
        let email = self.address();
        self.identity().register(&email.to_uppercase(), &secret(PASSWORD), " Ada ").await.unwrap();
        assert_eq!(self.refused(&email, PASSWORD).await.0, ErrorKind::Denied, "not before the address is proved");
        let user_id = self.identity().verify(&email, &self.code(&email)).await.unwrap();

        let users: Vec<User> = self.rows(query(&USERS, Some("by-email"), &email)).await;
        assert_eq!(users.len(), 1);
        assert_eq!((users[0].user_id, users[0].name.as_str()), (user_id, "Ada"));
        assert!(users[0].verified_at.is_some());
        let memberships = self.memberships(user_id).await;
        assert_eq!(memberships.len(), 1);
        assert_eq!((memberships[0].role, memberships[0].status), (Role::Owner, MembershipStatus::Active));
        let account = self.store().get::<Account>(&self.subject.system, store::key1(memberships[0].account_id)).await;
        assert_eq!(account.unwrap().row.name, "Ada");

        let signed_in = self.sign_in(&email).await;
        assert_eq!((signed_in.user_id, signed_in.account_id), (user_id, memberships[0].account_id));
        assert_eq!(self.refused(&email, "wrong horse battery").await.0, ErrorKind::Denied);
    }

    async fn registrations_are_checked_with_all_problems_at_once(&self) {
        let error = self.identity().register("no address", &secret("short"), "").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let places: Vec<_> = error.problems().iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(places, ["/email", "/password", "/name"]);
        for email in
            ["a@b", "@example.com", "a b@example.com", "a@example..com", "a@example.com\nBcc: b@c.de", "<a@b.de>"]
        {
            let outcome = self.identity().register(email, &secret(PASSWORD), "Ada").await;
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Invalid, "{email:?}");
        }
    }

    async fn codes_are_used_once_and_expire(&self) {
        let email = self.address();
        self.identity().register(&email, &secret(PASSWORD), "Ada").await.unwrap();
        let first = self.code(&email);
        let denied = async |code: &SecretString, why: &str| {
            assert_eq!(self.identity().verify(&email, code).await.unwrap_err().kind(), ErrorKind::Denied, "{why}");
        };
        denied(&secret("aaaa-bbbb-cccc-dddd"), "wrong").await;
        denied(&secret(""), "empty").await;
        pass(Duration::from_secs(3601)).await;
        denied(&first, "expired").await;
        self.identity().resend(&email).await.unwrap();
        let second = self.code(&email);
        assert_ne!(first.expose_secret(), second.expose_secret());
        denied(&first, "replaced").await;
        let other = self.address();
        assert!(self.identity().verify(&other, &second).await.is_err(), "of another address");
        let typed = secret(&second.expose_secret().replace('-', " ").to_uppercase());
        self.identity().verify(&email, &typed).await.unwrap();
        denied(&second, "used").await;
    }

    async fn a_registered_address_is_answered_like_a_new_one(&self) {
        let (known, _) = self.person().await;
        let unknown = self.address();
        for email in [&known, &unknown] {
            let before = (self.letters)(email).len();
            self.identity().register(email, &secret("another password"), "Mallory").await.unwrap();
            assert_eq!((self.letters)(email).len(), before + 1, "each gets a letter");
            self.identity().resend(email).await.unwrap();
        }
        assert!((self.letters)(&known).last().unwrap().contains("already"));
        self.sign_in(&known).await;
        assert_eq!(self.refused(&known, "another password").await.0, ErrorKind::Denied, "nothing came of it");
        // However often: the answer stays the same and the letters end.
        for _ in 0..10 {
            self.identity().register(&known, &secret("another password"), "Mallory").await.unwrap();
        }
        assert!((self.letters)(&known).len() <= 7, "an address is not flooded with letters");
    }

    async fn a_registered_address_is_answered_alike_and_keeps_its_password(&self) {
        let (known, _) = self.person().await;
        let waiting = self.address();
        self.identity().register(&waiting, &secret(PASSWORD), "Ada").await.unwrap();
        for email in [&known, &waiting, &self.address()] {
            self.identity().register(email, &secret("another password"), "Mallory").await.unwrap();
            self.identity().resend(email).await.unwrap();
        }
        self.identity().resend("no address").await.unwrap();
        self.sign_in(&known).await;
        assert_eq!(self.refused(&known, "another password").await.0, ErrorKind::Denied, "nothing came of it");
    }

    async fn a_stranger_cannot_slip_in_a_password(&self) {
        let email = self.address();
        self.identity().register(&email, &secret(PASSWORD), "Ada").await.unwrap();
        let code = self.code(&email);
        self.identity().register(&email, &secret("password of mallory"), "Mallory").await.unwrap();
        self.identity().verify(&email, &code).await.unwrap();
        self.sign_in(&email).await;
        assert_eq!(self.refused(&email, "password of mallory").await.0, ErrorKind::Denied);
        assert!(self.identity().verify(&email, &self.code(&email)).await.is_err(), "the other code ended with it");
    }

    async fn who_has_no_account_does_not_sign_in(&self) {
        let (email, user_id) = self.person().await;
        self.leave(user_id).await;
        assert_eq!(self.refused(&email, PASSWORD).await.0, ErrorKind::Denied);
    }

    async fn leave(&self, user_id: UserId) {
        let account_id = self.memberships(user_id).await[0].account_id;
        let delete = listbackup_engine::ports::Write::Delete {
            table: &USERS_ACCOUNTS,
            key: store::key(user_id, account_id),
            condition: Condition::Any,
        };
        self.store().transact(&self.subject.system, vec![delete]).await.unwrap();
    }

    async fn who_loses_the_account_loses_the_session(&self) {
        let (email, user_id) = self.person().await;
        let signed_in = self.sign_in(&email).await;
        self.leave(user_id).await;
        assert!(self.denied(&signed_in.refresh_token).await);
        assert_eq!(self.refused(&email, PASSWORD).await.0, ErrorKind::Denied);
    }

    async fn failed_sign_ins_are_told_alike(&self) {
        let (known, _) = self.person().await;
        let unproved = self.address();
        self.identity().register(&unproved, &secret(PASSWORD), "Ada").await.unwrap();
        let answers = [
            self.refused(&known, "wrong horse battery").await,
            self.refused(&self.address(), PASSWORD).await,
            self.refused(&unproved, PASSWORD).await,
            self.refused("no address", PASSWORD).await,
            self.refused("", "").await,
        ];
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    }

    async fn access_tokens_are_verified_by_the_published_keys(&self) {
        let (email, user_id) = self.person().await;
        let signed_in = self.sign_in(&email).await;
        assert!(signed_in.expires_in <= Duration::from_secs(900));
        let token = signed_in.access_token;
        let jwks: JwkSet = serde_json::from_value(self.identity().jwks().await.unwrap()).unwrap();
        let header = jsonwebtoken::decode_header(token.expose_secret()).unwrap();
        let key = jwks.find(&header.kid.unwrap()).expect("the key is published");
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[self.identity().issuer()]);
        validation.set_audience(&["listbackup"]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // The token's times are those of the test's clock.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let key = DecodingKey::from_jwk(key).unwrap();
        let claims = jsonwebtoken::decode::<Value>(token.expose_secret(), &key, &validation).unwrap().claims;
        let now_s = self.subject.ports.clock.now().as_second();
        let account_id = self.memberships(user_id).await[0].account_id;
        assert_eq!(claims["sub"], user_id.to_string());
        assert_eq!(claims["account"], account_id.to_string());
        assert_eq!(claims["token_use"], "access");
        assert!(claims["exp"].as_i64().unwrap() - now_s <= 900);
        assert!(claims["nbf"].as_i64().unwrap() <= now_s);
        assert!(claims["jti"].as_str().unwrap().len() >= 16);
        let mut forged = token.expose_secret().to_owned();
        forged.insert(forged.len() - 10, 'A');
        assert!(jsonwebtoken::decode::<Value>(&forged, &key, &validation).is_err());
    }

    async fn work_in_an_account_needs_a_place_there_or_above(&self) {
        let (email, user_id) = self.person().await;
        let (other_email, other_id) = self.person().await;
        let own = self.memberships(user_id).await[0].account_id;
        let foreign = self.memberships(other_id).await[0].account_id;
        let child_id = self.account_below(own).await;
        for account_id in [own, child_id] {
            let signed_in = self.identity().sign_in(&email, &secret(PASSWORD), Some(account_id), HERE).await;
            assert!(signed_in.is_ok(), "in {account_id}");
        }
        let refused = self.identity().sign_in(&email, &secret(PASSWORD), Some(foreign), HERE).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Denied);
        let refused =
            self.identity().sign_in(&other_email, &secret(PASSWORD), Some(child_id), HERE).await.err().unwrap();
        assert_eq!(refused.kind(), ErrorKind::Denied);
    }
}

fn query(
    table: &'static listbackup_engine::tables::TableSchema,
    index: Option<&'static str>,
    partition: &str,
) -> Query {
    Query {
        table,
        index,
        partition: partition.to_owned(),
        sort: SortRange::All,
        descending: false,
        limit: 10,
        after: None,
    }
}
