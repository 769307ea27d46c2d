//! Whoever administers an account hears of what goes wrong, whoever sends the letter and wherever they die.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use listbackup_engine::{
    Error, ErrorKind, Result,
    model::{Account, ActivityKind, Alert, Membership, Role, User, UserId, user::MembershipStatus},
    ports::{Condition, Letter, Mail, Ports, Query, SortRange},
    run::{
        alerts,
        deliveries::Sent,
        event::{self, Subject},
        relay::Relay,
    },
    store::{self, Store},
    tables::WEBHOOKS,
};
use serde_json::{Map, json};

use crate::{
    activity::world,
    meddled::Fate,
    mortal::{Life, Side, at_each_effect},
    world::World,
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Takes letters, and what happens to whoever hands one over.
struct Post {
    life: Life,
    sent: Arc<Mutex<Vec<Letter>>>,
    /// Letters to this address fail so.
    refuses: Option<(&'static str, ErrorKind)>,
    is_set_up: bool,
}

impl Post {
    fn new() -> Self {
        Self { life: Life::new(None), sent: Arc::default(), refuses: None, is_set_up: true }
    }

    fn ports(self, to: &Ports) -> Ports {
        Ports { mail: Arc::new(self), ..to.clone() }
    }
}

#[async_trait]
impl Mail for Post {
    async fn send(&self, letter: &Letter) -> Result<()> {
        let act = async {
            if let Some((_, kind)) = self.refuses.filter(|(to, _)| letter.to == *to) {
                return Err(Error::new(kind, "no"));
            }
            self.sent.lock().expect("no test panics in here").push(letter.clone());
            Ok(())
        };
        self.life.effect("send a letter".to_owned(), act).await
    }

    fn is_set_up(&self) -> bool {
        self.is_set_up
    }
}

/// An account with an owner and an administrator, of which a backup failed.
async fn failed(seed: u64) -> World {
    let world = world(seed).await;
    let (account_id, now) = (world.scope.account_id(), world.ports.clock.now());
    let mut writes = vec![store::put(&Account::root(account_id, "Shop".to_owned(), now), Condition::Absent)];
    for (number, name, role) in [(1, "ada", Role::Owner), (2, "bob", Role::Admin), (3, "eve", Role::Operator)] {
        let user_id = UserId::derived(1, [number; 10]);
        let user = User {
            user_id,
            email: format!("{name}@example.com"),
            name: name.to_owned(),
            verified_at: Some(now),
            alerts_off: false,
            created_at: now,
            sign_in: None,
        };
        let member = Membership { user_id, account_id, role, status: MembershipStatus::Active, created_at: now };
        writes.extend([store::put(&user, Condition::Absent), store::put(&member, Condition::Absent)]);
    }
    let writes = writes.into_iter().collect::<Result<_>>().expect("rows");
    Store::new(world.ports.tables.clone()).transact(&world.system, writes).await.expect("written");
    fails(&world).await;
    world
}

async fn fails(world: &World) {
    let details = Map::from_iter([("error".to_owned(), json!({ "code": "retry", "message": "nobody answered" }))]);
    let (kind, subject) = (ActivityKind::RunFailed, Subject::job(world.source_id, world.job.job_id));
    let told = event::event(&world.ports, world.scope.account_id(), kind, event::SYSTEM, subject, details);
    let kept = vec![event::keep(&told).expect("a row")];
    world.ports.tables.transact((&world.scope).into(), kept).await.expect("kept");
}

async fn derived(world: &World) {
    Relay::default().look(&world.ports, &world.system).await.expect("stores that work");
}

async fn rows(world: &World) -> Vec<Alert> {
    let query = Query {
        table: &WEBHOOKS,
        index: None,
        partition: world.scope.account_id().to_string(),
        sort: SortRange::Prefix("alert#".to_owned()),
        descending: false,
        limit: 100,
        after: None,
    };
    Store::new(world.ports.tables.clone()).all(&world.scope, query).await.expect("rows")
}

async fn look(world: &World, post: Post) -> Sent {
    alerts::look(&world.worker_with(post.ports(&world.ports))).await.expect("stores that work")
}

fn by_address(sent: &Mutex<Vec<Letter>>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for letter in &*sent.lock().expect("no test panics in here") {
        *counts.entry(letter.to.clone()).or_default() += 1;
    }
    counts
}

/// A process that derives and sends dies at that effect, and another one goes on; true when it survived since it has no such effect.
async fn sends_and_dies(ends_at: (u64, Side)) -> bool {
    let world = failed(11).await;
    let life = Life::new(Some(ends_at));
    let first = Post { life: life.clone(), ..Post::new() };
    let sent = first.sent.clone();
    let ports = first.ports(&Fate::Mortal(life.clone()).ports(&world.ports));
    let ctx = world.worker_with(ports.clone());
    let work = async {
        Relay::default().look(&ports, &world.system).await.expect("stores that work");
        alerts::look(&ctx).await.expect("stores that work");
    };
    let survived = tokio::select! {
        biased;
        () = work => true,
        _ = life.end() => false,
    };
    derived(&world).await;
    world.clock.advance(6 * MINUTE);
    look(&world, Post { sent: sent.clone(), ..Post::new() }).await;
    let place = format!("dead {:?} effect {} of {:?}", ends_at.1, ends_at.0, life.effects());
    let counts = by_address(&sent);
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["ada@example.com", "bob@example.com"], "{place}");
    assert!(
        counts.values().all(|count| *count <= 2) && (!survived || counts.values().all(|count| *count == 1)),
        "{place}"
    );
    assert!(rows(&world).await.iter().all(|alert| !alert.is_due() && alert.withheld == 0), "{place}");
    survived
}

#[tokio::test]
async fn wherever_a_worker_dies_whoever_administers_the_account_has_the_letter() {
    let points = at_each_effect(sends_and_dies).await;
    println!("alerts: {points} crash points");
    assert!(points >= 12, "deriving and sending have more effects than that: {points}");
}

#[tokio::test]
async fn a_letter_that_cannot_be_sent_is_tried_for_a_day_and_only_for_those_who_have_none() {
    let world = failed(12).await;
    derived(&world).await;
    let sent = Arc::default();
    let down = || Post { sent: Arc::clone(&sent), refuses: Some(("bob@example.com", ErrorKind::Retry)), ..Post::new() };
    let (mut attempts, mut waited) = (0, Duration::ZERO);
    loop {
        let looked = look(&world, down()).await;
        attempts += looked.attempts;
        let Some(wait) = looked.again.first() else { break };
        world.clock.advance(*wait - MINUTE / 2);
        assert_eq!(look(&world, down()).await.attempts, 0, "not before its time");
        world.clock.advance(MINUTE / 2);
        waited += *wait;
    }
    assert_eq!((attempts, by_address(&sent)), (8, [("ada@example.com".to_owned(), 1)].into()));
    assert!(waited > 20 * DAY / 24 && waited < DAY, "{waited:?}");
    assert!(rows(&world).await.iter().all(|alert| !alert.is_due()), "it is given up");
}

#[tokio::test]
async fn what_happened_longer_ago_than_a_day_is_no_news() {
    let world = failed(14).await;
    derived(&world).await;
    world.clock.advance(DAY + 2 * 60 * MINUTE);
    let post = Post::new();
    let sent = post.sent.clone();
    assert_eq!((look(&world, post).await.attempts, by_address(&sent).len()), (1, 0));
    assert!(rows(&world).await.iter().all(|alert| !alert.is_due()));
}

#[tokio::test]
async fn where_no_mail_is_set_up_nothing_is_kept_of_alerts() {
    let world = failed(15).await;
    derived(&world).await;
    let post = Post { is_set_up: false, ..Post::new() };
    let sent = post.sent.clone();
    look(&world, post).await;
    assert_eq!((rows(&world).await, by_address(&sent).len()), (vec![], 0));
}

#[tokio::test]
async fn a_letter_an_hour_after_the_last_one_says_how_many_failed_in_between() {
    let world = failed(16).await;
    let sent = Arc::default();
    let post = || Post { sent: Arc::clone(&sent), ..Post::new() };
    for _ in 0..6 {
        derived(&world).await;
        look(&world, post()).await;
        world.clock.advance(15 * MINUTE);
        fails(&world).await;
    }
    let sent = sent.lock().expect("no test panics in here");
    let texts: Vec<_> =
        sent.iter().filter(|letter| letter.to == "ada@example.com").map(|letter| &letter.text).collect();
    let [first, second] = texts[..] else { panic!("{texts:#?}") };
    assert!(first.contains("nobody answered") && !first.contains("More of these"), "{first}");
    assert!(second.contains("More of these since the last letter: 3"), "{second}");
}
