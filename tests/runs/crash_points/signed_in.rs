//! The same where one has to sign in, and where each refresh token works once. A worker that dies between the product's answer and
//! its storing takes the sign-in with it: that is told, once, and after a person has signed in again nothing is missing.

use std::cell::Cell;

use listbackup_engine::{
    model::{ActivityKind, Credential, RunStatus, SourceState},
    store::{Store, key1},
};

use super::{
    assert_nothing_left, assert_nothing_read_again, assert_once, assert_sound, assert_whole, at_every_effect, events,
    live, product, runs, tenant, with_due_job,
};
use crate::{
    desk::Desk,
    mortal::{Life, Side},
    simulation::hour::{give_credential, keep},
    watch::Watch,
    world::World,
};

/// An access token is good for so many requests: fewer than a backup takes.
const USES: u64 = 3;

/// Where one has to sign in.
struct Signed {
    world: World,
    watch: Watch,
    desk: Desk,
}

impl Signed {
    /// A person has signed in, and a backup is due.
    async fn new() -> Self {
        // What comes of writes on a disk the other walks show.
        let mut world = with_due_job(World::in_memory(1, product()).await).await;
        let (watch, desk) = (Watch::new(), Desk::issuing_for(USES));
        // One after the other, so that no stream uses up the token that another one was just given.
        world.settings.streams_max = 1;
        world.product.open_desk(desk.clone());
        give_credential(&world, &tenant(&world)).await;
        let signed = Self { world, watch, desk };
        signed.sign_in().await;
        signed
    }

    async fn sign_in(&self) {
        keep(&self.world, &tenant(&self.world), &self.desk.sign_in()).await;
    }

    /// True when the newest tokens of the product are not those that are stored.
    async fn has_lost_tokens(&self) -> bool {
        let key_id = self.world.source().await.credential_id.expect("it has a credential");
        let store = Store::new(self.world.ports.tables.clone());
        let stored = store.get::<Credential>(&self.world.scope, key1(key_id)).await.expect("the credential");
        stored.row.token_version != self.desk.issued()
    }

    async fn live(&self, life: &Life, run_count: usize) -> bool {
        live(&self.world, &self.watch, life, run_count).await
    }

    /// Nobody who can know that a refresh token is used up sends it.
    fn assert_fair(&self, place: &str) {
        assert_eq!(self.desk.violations(), [""; 0], "{place}");
    }

    /// The backup that is due ended for want of a sign-in, and says so; a person signs in, and the next one is whole.
    async fn assert_told_and_made_good(&self, place: &str) {
        let world = &self.world;
        let ended = runs(world).await;
        let codes: Vec<_> = ended.iter().map(|run| run.error.as_ref().map(|error| error.code.as_str())).collect();
        assert_eq!(codes, [Some("reauthorise")], "{place}");
        assert_eq!(world.source().await.state, SourceState::NeedsAuthorisation, "{place}");
        let told = events(world).await;
        let told = told.iter().filter(|event| event.kind == ActivityKind::SourceAuthorisationLost);
        let told: Vec<_> = told.map(|event| event.run_id).collect();
        assert_eq!(told, [Some(ended[0].run_id)], "that is told once: {place}");
        self.assert_fair(place);

        self.sign_in().await;
        let order = world.order().await;
        assert!(self.live(&Life::new(None), 2).await);
        let run = world.run(&order).await;
        assert_eq!(run.status, RunStatus::Succeeded, "{:?}: {place}", run.error);
        assert_sound(world, &self.watch, place).await;
        assert_whole(world, true, place).await;
        assert_nothing_left(world, place).await;
    }
}

fn place(what: &str, (number, side): (u64, Side), life: &Life) -> String {
    format!("{what}, dead {side:?} effect {number} of {:?}", life.effects())
}

/// One dies at that effect and another one comes; true when the first one survived because it has no such effect.
async fn crash_while_tokens_rotate(what: &str, ends_at: (u64, Side), losses: &Cell<u64>) -> bool {
    let signed = Signed::new().await;
    let life = Life::new(Some(ends_at));
    if signed.live(&life, 1).await {
        assert!(signed.desk.issued() > 2, "tokens rotate while it reads");
        return true;
    }
    let is_lost = signed.has_lost_tokens().await;
    assert!(signed.live(&Life::new(None), 1).await);
    let place = place(what, ends_at, &life);
    // Who comes after a loss cannot know of it. Nobody else sends a token twice.
    assert_eq!(signed.desk.spent_sent(), usize::from(is_lost), "{place}");
    if is_lost {
        losses.set(losses.get() + 1);
        signed.assert_told_and_made_good(&place).await;
        return false;
    }
    signed.assert_fair(&place);
    assert_sound(&signed.world, &signed.watch, &place).await;
    assert_once(&signed.world, 1, &place).await;
    assert_nothing_read_again(&signed.world, &place);
    assert_whole(&signed.world, true, &place).await;
    assert_nothing_left(&signed.world, &place).await;
    false
}

/// A worker that finds the sign-in lost dies at that effect.
async fn crash_while_a_loss_is_found(what: &str, ends_at: (u64, Side)) -> bool {
    let signed = Signed::new().await;
    signed.desk.lose();
    let life = Life::new(Some(ends_at));
    let survived = signed.live(&life, 1).await;
    if !survived {
        assert!(signed.live(&Life::new(None), 1).await);
    }
    let place = place(what, ends_at, &life);
    let mut done = life.effects();
    if !survived && ends_at.1 == Side::Before {
        done.pop();
    }
    let had_told = done.iter().any(|effect| effect == "put api-keys");
    let may_be_sent = if had_told { 1 } else { 2 };
    assert!((1..=may_be_sent).contains(&signed.desk.spent_sent()), "{} times: {place}", signed.desk.spent_sent());
    signed.assert_told_and_made_good(&place).await;
    survived
}

#[test]
fn a_backup_whose_tokens_rotate_is_made_once_or_asks_for_a_sign_in_wherever_its_worker_dies() {
    let what = "backup with rotating tokens";
    let losses = Cell::new(0);
    let points = at_every_effect(what, |ends_at| crash_while_tokens_rotate(what, ends_at, &losses));
    println!("{what}: {} of them lose the sign-in", losses.get());
    assert!(losses.get() > 2, "tokens rotate more than once: {losses:?}");
    assert!(points > 50, "a run has more effects than that: {points}");
}

#[test]
fn a_lost_sign_in_is_told_once_wherever_the_worker_that_finds_it_dies() {
    let what = "lost sign-in";
    let points = at_every_effect(what, |ends_at| crash_while_a_loss_is_found(what, ends_at));
    assert!(points > 20, "a run has more effects than that: {points}");
}
