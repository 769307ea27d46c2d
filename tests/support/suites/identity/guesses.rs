//! Whoever guesses passwords, and the owner.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use listbackup_engine::{Error, ErrorKind};

use super::{PASSWORD, Signing, secret};
use crate::support::pass;

impl Signing<'_> {
    pub(super) async fn guessing_is_slowed_down_and_denies_nobody(&self) {
        let (known, _) = self.person().await;
        let session = self.sign_in(&known).await;
        let thief: IpAddr = "198.51.100.7".parse().unwrap();
        for email in [known.clone(), self.address()] {
            let errors = self.guesses(&email, &[thief; 100]).await;
            let tried = errors.iter().filter(|error| error.kind() == ErrorKind::Denied).count();
            assert_eq!(tried, 10, "so many guesses were looked at");
            let waits: Vec<_> = errors.iter().filter_map(Error::retry_after).collect();
            assert_eq!(waits.len(), 90);
            assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(30)), "{waits:?}");
        }
        let again = self.identity().refresh(&session.refresh_token).await;
        assert!(again.is_ok(), "who is signed in is not touched");
        self.sign_in(&known).await;
        let there = self.identity().sign_in(&known, &secret(PASSWORD), None, thief).await;
        assert_eq!(there.err().unwrap().kind(), ErrorKind::RateLimited, "also with the right one");
        pass(Duration::from_secs(30)).await;
        assert!(self.identity().sign_in(&known, &secret(PASSWORD), None, thief).await.is_ok());
        assert_eq!(self.guesses(&known, &[thief; 20]).await[9].kind(), ErrorKind::Denied, "a success forgives");
    }

    pub(super) async fn many_who_guess_together_keep_the_owner_out_of_no_place_that_is_theirs(&self) {
        let (known, _) = self.person().await;
        self.sign_in(&known).await;
        let thieves: Vec<IpAddr> = (0..100).map(|n| IpAddr::V4(Ipv4Addr::new(198, 51, 100, n))).collect();
        let errors = self.guesses(&known, &thieves).await;
        let tried = errors.iter().filter(|error| error.kind() == ErrorKind::Denied).count();
        assert_eq!(tried, 50, "so many guesses were looked at");
        self.sign_in(&known).await;
        let elsewhere: IpAddr = "2001:db8::1".parse().unwrap();
        let refused = self.identity().sign_in(&known, &secret(PASSWORD), None, elsewhere).await;
        assert_eq!(refused.err().unwrap().kind(), ErrorKind::RateLimited, "a new place waits with the others");
        // A letter proves the owner anywhere.
        self.identity().request_reset(&known).await.unwrap();
        self.identity().reset(&known, &self.code(&known), &secret(PASSWORD), elsewhere).await.unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        assert!(self.identity().sign_in(&known, &secret(PASSWORD), None, neighbour).await.is_ok(), "the same network");
    }

    /// What became of a wrong password from each of these places, all at once.
    async fn guesses(&self, email: &str, from: &[IpAddr]) -> Vec<Error> {
        let guesses = from.iter().enumerate().map(|(n, from)| {
            let guess = secret(&format!("guess number {n}"));
            async move { self.identity().sign_in(email, &guess, None, *from).await.err().unwrap() }
        });
        futures::future::join_all(guesses).await
    }
}
