//! Sessions: refresh tokens and their end.

use std::time::Duration;

use listbackup_engine::ErrorKind;
use secrecy::SecretString;

use super::{Signing, secret};
use crate::support::pass;

impl Signing<'_> {
    pub(super) async fn a_refresh_token_is_used_once_and_reuse_ends_the_family(&self) {
        let (email, user_id) = self.person().await;
        let first = self.sign_in(&email).await;
        let elsewhere = self.sign_in(&email).await;
        let second = self.identity().refresh(&first.refresh_token).await.unwrap();
        assert_eq!(second.user_id, user_id);
        let third = self.identity().refresh(&second.refresh_token).await.unwrap();
        assert!(self.denied(&first.refresh_token).await, "used before");
        assert!(self.denied(&third.refresh_token).await, "reuse ended the family");
        assert!(!self.denied(&elsewhere.refresh_token).await, "another session goes on");
        assert!(self.denied(&secret("lbr_unknown")).await);
        // Used in parallel: one at most gets on, and the family ends.
        let shared = self.sign_in(&email).await;
        let racers = (0..8).map(|_| self.identity().refresh(&shared.refresh_token));
        let winners: Vec<_> = futures::future::join_all(racers).await.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1);
        assert!(self.denied(&winners[0].refresh_token).await);
        let idle = self.sign_in(&email).await;
        pass(Duration::from_secs(31 * 24 * 3600)).await;
        assert!(self.denied(&idle.refresh_token).await, "expired");
    }

    pub(super) async fn switching_goes_on_in_an_account_of_the_person_and_in_no_other(&self) {
        let (email, user_id) = self.person().await;
        let (_, stranger) = self.person().await;
        let own = self.memberships(user_id).await[0].account_id;
        let below = self.account_below(own).await;
        let mut session = self.sign_in(&email).await;
        for account_id in [below, own, below] {
            session = self.identity().switch(&session.refresh_token, user_id, account_id).await.unwrap();
            assert_eq!((session.user_id, session.account_id), (user_id, account_id));
        }
        let foreign = self.memberships(stranger).await[0].account_id;
        for (user_id, account_id) in [(user_id, foreign), (stranger, foreign), (stranger, own)] {
            let session = self.sign_in(&email).await;
            let refused = self.identity().switch(&session.refresh_token, user_id, account_id).await;
            assert_eq!(refused.err().unwrap().kind(), ErrorKind::Denied);
        }
    }

    pub(super) async fn a_switch_that_is_refused_leaves_the_session_as_it_is(&self) {
        let (email, user_id) = self.person().await;
        let (_, stranger) = self.person().await;
        let own = self.memberships(user_id).await[0].account_id;
        let foreign = self.memberships(stranger).await[0].account_id;
        let session = self.sign_in(&email).await;
        for (user_id, account_id) in [(user_id, foreign), (stranger, foreign), (stranger, own)] {
            let refused = self.identity().switch(&session.refresh_token, user_id, account_id).await;
            assert_eq!(refused.err().unwrap().kind(), ErrorKind::Denied);
        }
        let next = self.identity().switch(&session.refresh_token, user_id, own).await.unwrap();
        // A token that comes a second time ends the family, by whatever way it comes.
        assert!(self.identity().switch(&session.refresh_token, user_id, own).await.is_err());
        assert!(self.denied(&next.refresh_token).await);
    }

    pub(super) async fn denied(&self, refresh_token: &SecretString) -> bool {
        match self.identity().refresh(refresh_token).await {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Denied);
                true
            }
        }
    }

    pub(super) async fn signing_out_ends_the_session(&self) {
        let (email, _) = self.person().await;
        let first = self.sign_in(&email).await;
        let second = self.identity().refresh(&first.refresh_token).await.unwrap();
        self.identity().sign_out(&second.refresh_token).await.unwrap();
        assert!(self.denied(&second.refresh_token).await);
        self.identity().sign_out(&secret("lbr_unknown")).await.unwrap();
    }
}
