//! Other passwords, and the end of every sign-in.

use std::time::Duration;

use listbackup_engine::{Error, ErrorKind};

use super::{HERE, Known, PASSWORD, Signing, person, secret};
use crate::support::pass;

const OTHER: &str = "another horse battery";

impl Signing<'_> {
    pub(super) async fn a_new_password_is_set_by_a_letter_and_ends_sign_ins(&self, known: Known) {
        let (email, _) = self.person().await;
        let (here, there) = (self.sign_in(&email).await, self.sign_in(&email).await);
        self.identity().request_reset(&email.to_uppercase()).await.unwrap();
        let code = self.code(&email);
        let weak = self.identity().reset(&email, &code, &secret("short"), HERE).await.unwrap_err();
        assert_eq!((weak.kind(), &*weak.problems()[0].place), (ErrorKind::Invalid, "/password"));
        if !known.takes_any_letter {
            for (address, wrong) in
                [(&email, "aaaa-bbbb-cccc-dddd"), (&email, ""), (&self.address(), "1"), (&email, "no")]
            {
                let outcome = self.identity().reset(address, &secret(wrong), &secret(OTHER), HERE).await;
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Denied, "{wrong:?}");
            }
            let other = self.person().await.0;
            let outcome = self.identity().reset(&other, &code, &secret(OTHER), HERE).await;
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Denied, "of another address");
        }
        self.identity().reset(&email, &code, &secret(OTHER), HERE).await.unwrap();
        self.sign_in_with(&email, OTHER).await;
        assert_eq!(self.refused(&email, PASSWORD).await.0, ErrorKind::Denied);
        self.ended(&[here, there], known).await;
        if !known.takes_any_letter {
            let again = self.identity().reset(&email, &code, &secret(PASSWORD), HERE).await;
            assert_eq!(again.unwrap_err().kind(), ErrorKind::Denied, "used");
        }
    }

    pub(super) async fn whoever_asks_for_a_new_password_is_answered_alike(&self) {
        let (known, _) = self.person().await;
        let unproved = self.address();
        self.identity().register(&unproved, &secret(PASSWORD), "Ada").await.unwrap();
        for email in [&known, &self.address(), &unproved, "no address", ""] {
            self.identity().request_reset(email).await.unwrap();
        }
    }

    pub(super) async fn asking_for_letters_ends_no_code_and_floods_nobody(&self) {
        let ((known, _), unknown) = (self.person().await, self.address());
        for email in [&known, &unknown] {
            let before = (self.letters)(email).len();
            self.identity().request_reset(email).await.unwrap();
            assert_eq!((self.letters)(email).len(), before + 1, "each gets a letter");
        }
        assert!(!(self.letters)(&unknown).last().unwrap().contains("Code: "), "there is nothing to set");
        let first = self.code(&known);
        for _ in 0..20 {
            self.identity().request_reset(&known).await.unwrap();
        }
        let letters = (self.letters)(&known).len();
        assert!(letters <= 6, "{letters} letters: an address is not flooded");
        let last = self.code(&known);
        self.identity().reset(&known, &first, &secret(OTHER), HERE).await.unwrap();
        let outcome = self.identity().reset(&known, &last, &secret(PASSWORD), HERE).await;
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Denied, "the first that is used ends all of them");
        pass(Duration::from_secs(3600)).await;
        self.identity().request_reset(&known).await.unwrap();
        let late = self.code(&known);
        pass(Duration::from_secs(3601)).await;
        let outcome = self.identity().reset(&known, &late, &secret(PASSWORD), HERE).await;
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Denied, "expired");
    }

    pub(super) async fn guesses_of_letters_are_limited_and_keep_nobody_out(&self) {
        let ((known, _), unknown) = (self.person().await, self.address());
        self.identity().request_reset(&known).await.unwrap();
        let code = self.code(&known);
        for email in [&known, &unknown] {
            let guesses = (0..100).map(|n| async move {
                self.identity().reset(email, &secret(&format!("guess-{n}")), &secret(OTHER), HERE).await.unwrap_err()
            });
            let errors = futures::future::join_all(guesses).await;
            assert_eq!(errors.iter().filter(|error| error.kind() == ErrorKind::Denied).count(), 10);
            assert_eq!(errors.iter().filter_map(Error::retry_after).count(), 90);
        }
        // Wrong passwords are used up as well; the owner gets in all the same.
        for n in 0..11 {
            self.refused(&known, &format!("guess number {n}")).await;
        }
        assert_eq!(self.refused(&known, PASSWORD).await.0, ErrorKind::RateLimited);
        self.identity().reset(&known, &code, &secret(OTHER), HERE).await.unwrap();
        self.sign_in_with(&known, OTHER).await;
    }

    pub(super) async fn a_new_password_is_set_by_the_old_one_and_ends_sign_ins(&self, known: Known) {
        let (email, _) = self.person().await;
        let (here, there) = (self.sign_in(&email).await, self.sign_in(&email).await);
        let change = async |old: &str, new: &str| {
            self.identity().change_password(person(&here), &secret(old), &secret(new)).await
        };
        let weak = change(PASSWORD, "short").await.unwrap_err();
        assert_eq!((weak.kind(), &*weak.problems()[0].place), (ErrorKind::Invalid, "/password"));
        assert_eq!(change("wrong horse battery", OTHER).await.unwrap_err().kind(), ErrorKind::Denied);
        self.sign_in(&email).await;
        change(PASSWORD, OTHER).await.unwrap();
        self.sign_in_with(&email, OTHER).await;
        assert_eq!(self.refused(&email, PASSWORD).await.0, ErrorKind::Denied);
        self.ended(&[here, there], known).await;
    }

    pub(super) async fn signing_out_everywhere_ends_every_sign_in(&self, known: Known) {
        let ((email, _), (other, _)) = (self.person().await, self.person().await);
        let (here, there) = (self.sign_in(&email).await, self.sign_in(&email).await);
        let elsewhere = self.sign_in(&other).await;
        self.identity().sign_out_everywhere(person(&here)).await.unwrap();
        self.ended(&[here, there], known).await;
        if !known.has_no_sessions {
            assert!(!self.denied(&elsewhere.refresh_token).await, "somebody else's goes on");
        }
        let again = self.sign_in(&email).await;
        if !known.has_no_sessions {
            assert!(!self.denied(&again.refresh_token).await);
        }
    }

    async fn ended(&self, sign_ins: &[super::SignedIn], known: Known) {
        if known.has_no_sessions || known.ends_old_sessions {
            return;
        }
        for signed_in in sign_ins {
            assert!(self.denied(&signed_in.refresh_token).await, "this sign-in goes on");
        }
    }
}
