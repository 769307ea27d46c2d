//! Second factors: an authenticator app, and recovery codes.

use std::time::Duration;

use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind, Result,
    ports::{Challenge, SignedIn},
};
use secrecy::{ExposeSecret, SecretString};

use super::{HERE, Known, PASSWORD, Signing, person, secret};
use crate::{authenticator::code_of, support::pass};

const OTHER: &str = "another horse battery";
const STEP: Duration = Duration::from_secs(30);

/// Somebody with an authenticator app.
struct Owner {
    email: String,
    app: SecretString,
    recovery: Vec<SecretString>,
    signed_in: SignedIn,
}

/// A code that is right at none of the times that count.
fn wrong(app: &SecretString, now: Timestamp) -> SecretString {
    let right: Vec<_> = [-60, -30, 0, 30, 60]
        .map(|later| code_of(app, now + jiff::SignedDuration::from_secs(later)).expose_secret().to_owned())
        .to_vec();
    let code = (0..).map(|n| format!("{n:06}")).find(|code| !right.contains(code)).unwrap();
    secret(&code)
}

impl Signing<'_> {
    fn now(&self) -> Timestamp {
        self.subject.ports.clock.now()
    }

    async fn owner(&self) -> Owner {
        let (email, _) = self.person().await;
        let signed_in = self.sign_in(&email).await;
        let app = self.identity().set_up_factor(person(&signed_in)).await.unwrap().secret;
        let recovery = self.identity().enable_factor(person(&signed_in), &code_of(&app, self.now())).await.unwrap();
        Owner { email, app, recovery, signed_in }
    }

    /// An owner whose next code was not used yet.
    async fn owner_later(&self) -> Owner {
        let owner = self.owner().await;
        pass(STEP).await;
        owner
    }

    async fn answered(&self, question: &Challenge, code: &SecretString) -> Result<SignedIn> {
        self.identity().answer(&question.token, code).await
    }

    async fn refused_code(&self, question: &Challenge, code: &SecretString, why: &str) {
        let outcome = self.answered(question, code).await;
        assert_eq!(outcome.err().map(|error| error.kind()), Some(ErrorKind::Denied), "{why}");
    }

    pub(super) async fn a_second_factor_is_asked_for_until_it_is_turned_off(&self, known: Known) {
        let (email, user_id) = self.person().await;
        let signed_in = self.sign_in(&email).await;
        let (identity, ada) = (self.identity(), person(&signed_in));
        assert!(!identity.has_factor(ada).await.unwrap());
        if !known.takes_any_code {
            let outcome = identity.enable_factor(ada, &secret("123456")).await;
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Denied, "nothing was set up");
        }
        assert_eq!(identity.disable_factor(ada, &secret("123456")).await.unwrap_err().kind(), ErrorKind::Denied);
        let made = identity.set_up_factor(ada).await.unwrap();
        let uri = made.uri.expose_secret();
        assert!(uri.starts_with("otpauth://totp/") && uri.contains(&email), "{uri}");
        assert!(uri.contains(&format!("secret={}", made.secret.expose_secret())), "{uri}");
        let (right, wrong) = (|| code_of(&made.secret, self.now()), || wrong(&made.secret, self.now()));
        if !known.takes_any_code {
            assert_eq!(identity.enable_factor(ada, &wrong()).await.unwrap_err().kind(), ErrorKind::Denied);
        }
        assert!(!identity.has_factor(ada).await.unwrap());
        self.sign_in(&email).await;

        let recovery = identity.enable_factor(ada, &right()).await.unwrap();
        assert!(identity.has_factor(ada).await.unwrap());
        assert_eq!(identity.set_up_factor(ada).await.err().map(|error| error.kind()), Some(ErrorKind::Conflict));
        assert_eq!(self.refused(&email, "wrong horse battery").await.0, ErrorKind::Denied, "no question without it");
        // Where each code counts once, the next one is waited for.
        self.next_code(&recovery).await;
        let question = self.question(&email, PASSWORD).await;
        assert!(question.expires_in <= Duration::from_secs(300));
        if !known.takes_any_code {
            self.refused_code(&question, &wrong(), "wrong").await;
        }
        let typed = right().expose_secret().to_owned();
        let again = self.answered(&question, &secret(&format!("{} {}", &typed[..3], &typed[3..]))).await.unwrap();
        assert_eq!((again.user_id, again.account_id), (user_id, signed_in.account_id));
        if !known.knows_no_questions {
            self.next_code(&recovery).await;
            self.refused_code(&question, &right(), "an answered question").await;
        }
        for token in ["", "lbq_unknown", "e30"] {
            let outcome = identity.answer(&secret(token), &right()).await;
            assert_eq!(outcome.err().map(|error| error.kind()), Some(ErrorKind::Denied), "{token:?}");
        }

        self.next_code(&recovery).await;
        if !known.takes_any_code {
            assert_eq!(identity.disable_factor(ada, &wrong()).await.unwrap_err().kind(), ErrorKind::Denied);
        }
        assert!(identity.has_factor(ada).await.unwrap());
        identity.disable_factor(ada, &right()).await.unwrap();
        assert!(!identity.has_factor(ada).await.unwrap());
        self.sign_in(&email).await;
    }

    /// Stand-ins for a pool, which has no recovery codes, let nobody wait.
    async fn next_code(&self, recovery: &[SecretString]) {
        if !recovery.is_empty() {
            pass(STEP).await;
        }
    }

    pub(super) async fn a_new_password_keeps_the_second_factor(&self) {
        let owner = self.owner().await;
        self.next_code(&owner.recovery).await;
        let before = self.question(&owner.email, PASSWORD).await;
        self.identity().request_reset(&owner.email).await.unwrap();
        self.identity().reset(&owner.email, &self.code(&owner.email), &secret(OTHER), HERE).await.unwrap();
        let question = self.question(&owner.email, OTHER).await;
        let code = code_of(&owner.app, self.now());
        if !owner.recovery.is_empty() {
            self.refused_code(&before, &code, "asked with the password that was").await;
        }
        self.answered(&question, &code).await.unwrap();
    }

    pub(super) async fn a_code_counts_once_and_for_a_minute_and_a_half(&self) {
        let owner = self.owner().await;
        let first = code_of(&owner.app, self.now());
        let question = self.question(&owner.email, PASSWORD).await;
        self.refused_code(&question, &first, "it turned the factor on").await;
        pass(STEP * 2).await;
        let (late, now) = (self.now() - STEP, self.now());
        self.answered(&question, &code_of(&owner.app, late)).await.unwrap();
        let question = self.question(&owner.email, PASSWORD).await;
        self.refused_code(&question, &code_of(&owner.app, late), "used").await;
        self.answered(&question, &code_of(&owner.app, now)).await.unwrap();
        let question = self.question(&owner.email, PASSWORD).await;
        self.refused_code(&question, &code_of(&owner.app, late), "of a step before one that was used").await;
        self.answered(&question, &code_of(&owner.app, now + STEP)).await.unwrap();
        let question = self.question(&owner.email, PASSWORD).await;
        self.refused_code(&question, &code_of(&owner.app, now + STEP * 3), "too early").await;
        let outcome = self.identity().disable_factor(person(&owner.signed_in), &code_of(&owner.app, now + STEP)).await;
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Denied, "used to sign in");
    }

    pub(super) async fn a_code_that_comes_twice_at_one_time_lets_one_in(&self) {
        let owner = self.owner_later().await;
        let code = code_of(&owner.app, self.now());
        let one = self.question(&owner.email, PASSWORD).await;
        let other = self.question(&owner.email, PASSWORD).await;
        let racers = [&one, &one, &other, &other].map(|question| self.answered(question, &code));
        assert_eq!(futures::future::join_all(racers).await.iter().filter(|answer| answer.is_ok()).count(), 1);
        let recovery = &owner.recovery[0];
        let one = self.question(&owner.email, PASSWORD).await;
        let other = self.question(&owner.email, PASSWORD).await;
        let racers = [&one, &one, &other, &other].map(|question| self.answered(question, recovery));
        assert_eq!(futures::future::join_all(racers).await.iter().filter(|answer| answer.is_ok()).count(), 1);
    }

    pub(super) async fn a_recovery_code_counts_once(&self) {
        let owner = self.owner().await;
        assert_eq!(owner.recovery.len(), 10);
        let typed = secret(&owner.recovery[3].expose_secret().replace('-', " ").to_uppercase());
        let question = self.question(&owner.email, PASSWORD).await;
        self.refused_code(&question, &secret("aaaa-bbbb-cccc-dddd"), "nobody's").await;
        let stranger = self.owner().await;
        self.refused_code(&question, &stranger.recovery[0], "somebody else's").await;
        self.answered(&question, &typed).await.unwrap();
        let question = self.question(&owner.email, PASSWORD).await;
        self.refused_code(&question, &typed, "used").await;
        self.answered(&question, &owner.recovery[4]).await.unwrap();
        self.identity().disable_factor(person(&owner.signed_in), &owner.recovery[5]).await.unwrap();
        self.sign_in(&owner.email).await;
    }

    pub(super) async fn a_question_is_answered_once_and_in_time(&self) {
        let owner = self.owner_later().await;
        let late = self.question(&owner.email, PASSWORD).await;
        pass(Duration::from_secs(301)).await;
        self.refused_code(&late, &owner.recovery[0], "too late").await;
        let question = self.question(&owner.email, PASSWORD).await;
        self.answered(&question, &owner.recovery[0]).await.unwrap();
        self.refused_code(&question, &owner.recovery[1], "answered").await;
        let question = self.question(&owner.email, PASSWORD).await;
        self.identity().sign_out_everywhere(person(&owner.signed_in)).await.unwrap();
        self.refused_code(&question, &owner.recovery[1], "signed out everywhere").await;
    }

    pub(super) async fn guesses_of_codes_are_limited_and_keep_nobody_out(&self) {
        let owner = self.owner_later().await;
        let question = self.question(&owner.email, PASSWORD).await;
        let (question, guess) = (&question, wrong(&owner.app, self.now()));
        let errors = futures::future::join_all((0..50).map(|_| self.answered(question, &guess))).await;
        let errors: Vec<Error> = errors.into_iter().filter_map(Result::err).collect();
        assert_eq!(errors.iter().filter(|error| error.kind() == ErrorKind::Denied).count(), 5);
        assert_eq!(errors.iter().filter_map(Error::retry_after).count(), 45);
        let limited = self.answered(question, &code_of(&owner.app, self.now())).await.err().unwrap();
        assert_eq!(limited.kind(), ErrorKind::RateLimited);
        // Neither another question nor another way of asking helps whoever guesses; a wrong recovery code is counted too.
        let question = self.question(&owner.email, PASSWORD).await;
        let ada = person(&owner.signed_in);
        assert_eq!(self.answered(&question, &guess).await.err().unwrap().kind(), ErrorKind::RateLimited);
        assert_eq!(self.identity().disable_factor(ada, &guess).await.unwrap_err().kind(), ErrorKind::RateLimited);
        let other = secret("aaaa-bbbb-cccc-dddd");
        assert_eq!(self.answered(&question, &other).await.err().unwrap().kind(), ErrorKind::RateLimited);
        self.answered(&question, &owner.recovery[0]).await.unwrap();
    }
}
