//! The product's door: OAuth sign-ins whose refresh tokens work once, requests that are counted by who sends them, and storms of
//! refusals with `Retry-After`. The tokens and the budget on our side are the real ones.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use listbackup_connectors::{
    Error, ErrorKind, Link, Result, Tokens,
    http::{QuotaHeaders, Rate, RateBudget},
    oauth::{Refresh, TokenSource},
};
use listbackup_engine::invariants::{self, Held};
use rand::{Rng, SeedableRng, rngs::StdRng};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep};

use crate::{faults::Faults, meddled::Fate};

/// In every secret of a simulation, and nowhere else.
pub const PLANTED: &str = "planted-secret";

/// What the product allows each credential.
const RATE: Rate = Rate { requests: 40, window: Duration::from_secs(10) };
/// How long an access token lasts.
const ACCESS: Duration = Duration::from_secs(4 * 60);
/// One in so many refreshes is the last thing that its worker does: the answer never reaches the store.
const DEADLY: u32 = 12;
/// How long the product takes over a refresh, at most, in milliseconds.
const REFRESH_MAX_MS: u64 = 2_000;
/// Telling the others of a refusal takes at most so long, with all latencies of the store.
const TELLING_MAX: Duration = Duration::from_secs(5);

/// The desk where people and programs sign in; clones share it.
#[derive(Clone)]
pub struct Desk(Arc<Mutex<Book>>);

struct Book {
    random: StdRng,
    opened: Instant,
    /// Numbers the tokens.
    last: u64,
    /// The one that still works; `None` while the grant is withdrawn.
    refresh: Option<String>,
    /// Access tokens of the grant, with their ends.
    access: BTreeMap<String, Access>,
    /// For how many requests an access token is good.
    access_uses: u64,
    /// Who sent a refresh token after it had been used, and how often it had been stopped until then.
    spent: BTreeMap<String, Vec<Sender>>,
    sign_ins: u64,
    storm_until: Instant,
    /// By worker: when its requests came.
    requests: BTreeMap<usize, Vec<Duration>>,
    /// By worker: until when it was told to pause.
    pauses: BTreeMap<usize, Duration>,
    violations: Vec<String>,
}

/// One worker, as the product meets it.
#[derive(Clone)]
pub struct Visitor {
    /// Nothing comes from a worker that is dead, or stands still.
    pub fate: Fate,
    /// Which.
    pub number: usize,
}

/// A connection: who, with which tokens, in which budget.
#[derive(Clone)]
pub struct Door {
    desk: Desk,
    visitor: Visitor,
    tokens: TokenSource,
    budget: RateBudget,
}

/// What is left of an access token.
struct Access {
    ends_at: Instant,
    uses: u64,
}

enum Answer {
    Fine,
    Unauthorised,
    Later(Duration),
}

impl Desk {
    /// Nobody has signed in yet.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Book {
            random: StdRng::seed_from_u64(seed ^ 0xde5c),
            opened: Instant::now(),
            last: 0,
            refresh: None,
            access: BTreeMap::new(),
            access_uses: u64::MAX,
            spent: BTreeMap::new(),
            sign_ins: 0,
            storm_until: Instant::now(),
            requests: BTreeMap::new(),
            pauses: BTreeMap::new(),
            violations: Vec::new(),
        })))
    }

    /// The same, but an access token is good for so many requests only.
    pub fn issuing_for(uses: u64) -> Self {
        let desk = Self::new(0);
        desk.book().access_uses = uses;
        desk
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("no test panics at the desk")
    }

    /// A person signs in: a new grant, the one before it ends.
    pub fn sign_in(&self) -> Tokens {
        let mut book = self.book();
        book.sign_ins += 1;
        book.access.clear();
        book.issue(0)
    }

    /// How often a person had to sign in.
    pub fn sign_ins(&self) -> u64 {
        self.book().sign_ins
    }

    /// How often tokens were issued, by a sign-in or for a refresh token.
    pub fn issued(&self) -> u64 {
        self.book().last
    }

    /// How often a refresh token came that was used up.
    pub fn spent_sent(&self) -> usize {
        self.book().spent.values().map(Vec::len).sum()
    }

    /// Somebody exchanges the refresh token, and nobody learns what for.
    pub fn lose(&self) {
        self.book().issue(0);
    }

    /// For so long every request is refused.
    pub fn storm(&self, time: Duration) {
        self.book().storm_until = Instant::now() + time;
    }

    /// A connection of that worker.
    pub fn door(&self, link: &Link, visitor: Visitor) -> Result<Door> {
        let bug = || Error::new(ErrorKind::Bug, "a connection comes with a budget");
        // Each worker is a process, and has a budget of its own.
        let name = format!("worker {}", visitor.number);
        let budget = link.http.budget().ok_or_else(bug)?.part(&name, &[RATE], QuotaHeaders::default())?;
        let tokens = TokenSource::new(link.credentials.clone(), self.refresh(visitor.clone()));
        Ok(Door { desk: self.clone(), visitor, tokens, budget })
    }

    fn refresh(&self, visitor: Visitor) -> Refresh {
        let desk = self.clone();
        Arc::new(move |old| {
            let (desk, visitor) = (desk.clone(), visitor.clone());
            Box::pin(async move {
                let answer = match &visitor.fate {
                    Fate::Faulty(faults) => desk.exchange_by_chance(&visitor, faults, &old).await,
                    Fate::Mortal(life) => {
                        let exchange = async { desk.book().exchange(&visitor, &old) };
                        life.effect("exchange a refresh token".to_owned(), exchange).await
                    }
                };
                desk.book().heard(&visitor, &old);
                answer
            })
        })
    }

    async fn exchange_by_chance(&self, visitor: &Visitor, faults: &Faults, old: &Tokens) -> Result<Tokens> {
        faults.alive().await;
        let delay = || Duration::from_millis(self.book().random.random_range(0..REFRESH_MAX_MS));
        let (there, back) = (delay(), delay());
        sleep(there).await;
        faults.unless_dead().await;
        let (answer, is_deadly) = {
            let mut book = self.book();
            (book.exchange(visitor, old), book.random.random_ratio(1, DEADLY))
        };
        if is_deadly && !faults.is_calm() {
            faults.kill();
        }
        sleep(back).await;
        faults.alive().await;
        answer
    }

    /// What was not as promised.
    pub fn violations(&self) -> Vec<String> {
        let book = self.book();
        let crowds = book.requests.iter().filter_map(|(worker, requests)| {
            let held = invariants::within_budget(requests, RATE.window, RATE.requests as usize);
            held.err().map(|violation| format!("worker {worker}: {violation}"))
        });
        book.violations.iter().cloned().chain(crowds).collect()
    }
}

/// Who sent a refresh token that was used up.
struct Sender {
    visitor: Visitor,
    /// When the refusal came to it, and how often it had been disturbed by then.
    heard: Option<(Instant, u64)>,
}

impl Sender {
    /// It had the time to tell the others, and nothing stopped it.
    fn was_free_to_tell(&self) -> bool {
        let was_free = |(at, disturbances): (Instant, u64)| {
            at.elapsed() > TELLING_MAX && self.visitor.fate.disturbances() == disturbances
        };
        self.heard.is_some_and(was_free)
    }
}

impl Book {
    fn issue(&mut self, version: u64) -> Tokens {
        self.last += 1;
        let (access, refresh) = (format!("{PLANTED}-access-{}", self.last), format!("{PLANTED}-refresh-{}", self.last));
        self.access.insert(access.clone(), Access { ends_at: Instant::now() + ACCESS, uses: self.access_uses });
        self.refresh = Some(refresh.clone());
        Tokens {
            access_token: access.into(),
            refresh_token: Some(refresh.into()),
            // Of the simulation's time the client knows nothing: it learns from a 401.
            expires_at: None,
            version,
        }
    }

    /// A refresh token for new tokens, once. One that comes again is taken for stolen, and the grant ends.
    fn exchange(&mut self, visitor: &Visitor, old: &Tokens) -> Result<Tokens> {
        let given = old.refresh_token.as_ref().map(|token| token.expose_secret().to_owned());
        if given.is_some() && given == self.refresh {
            return Ok(self.issue(old.version + 1));
        }
        if let Some(given) = given {
            let senders = self.spent.entry(given).or_default();
            // One that is refused, and stopped before it can tell the others, leaves it to the next one to be refused.
            let should_have_told = |other: &&Sender| other.visitor.number == visitor.number || other.was_free_to_tell();
            if let Some(Sender { visitor: other, .. }) = senders.iter().find(should_have_told) {
                let what = format!("worker {} sent a used-up refresh token, after {}", visitor.number, other.number);
                self.violations.push(format!("I3 is violated: {what}"));
            }
            senders.push(Sender { visitor: visitor.clone(), heard: None });
        }
        self.refresh = None;
        self.access.clear();
        Err(Error::new(ErrorKind::Reauthorise, "the product no longer accepts this sign-in"))
    }

    /// The answer has come to a worker.
    fn heard(&mut self, visitor: &Visitor, old: &Tokens) {
        let given = old.refresh_token.as_ref().map(|token| token.expose_secret().to_owned());
        let senders = given.and_then(|given| self.spent.get_mut(&given));
        for sender in senders.into_iter().flatten().filter(|sender| sender.visitor.number == visitor.number) {
            sender.heard.get_or_insert((Instant::now(), visitor.fate.disturbances()));
        }
    }

    fn note(&mut self, held: Held) {
        self.violations.extend(held.err().map(|violation| violation.to_string()));
    }

    fn request(&mut self, worker: usize, token: &SecretString) -> Answer {
        let now = self.opened.elapsed();
        self.requests.entry(worker).or_default().push(now);
        let pause_ends = self.pauses.get(&worker).copied().unwrap_or_default();
        self.note(invariants::pause_kept(now, pause_ends));
        if Instant::now() < self.storm_until {
            let wait = Duration::from_secs(self.random.random_range(1..40));
            self.pauses.insert(worker, now + wait);
            return Answer::Later(wait);
        }
        match self.access.get_mut(token.expose_secret()) {
            Some(access) if Instant::now() < access.ends_at && access.uses > 0 => {
                access.uses -= 1;
                Answer::Fine
            }
            _ => Answer::Unauthorised,
        }
    }
}

impl Door {
    /// Sends one request, as a connector does: in its turn, with a token that is refreshed once when it is refused.
    pub async fn request(&self) -> Result<()> {
        let token = self.tokens.access_token().await?;
        if !self.knock(&token).await? {
            let token = self.tokens.after_unauthorised(&token).await?;
            if !self.knock(&token).await? {
                return Err(Error::new(ErrorKind::Reauthorise, "the product refuses a new token"));
            }
        }
        Ok(())
    }

    /// False when the token was refused.
    async fn knock(&self, token: &SecretString) -> Result<bool> {
        self.visitor.fate.alive().await;
        self.budget.acquire().await?;
        self.visitor.fate.unless_dead().await;
        let answer = self.desk.book().request(self.visitor.number, token);
        match answer {
            Answer::Fine => Ok(true),
            Answer::Unauthorised => Ok(false),
            Answer::Later(wait) => {
                self.budget.pause(wait);
                Err(Error::new(ErrorKind::RateLimited, "the product asks for a pause").after(wait))
            }
        }
    }
}
