//! Requests at a steady rate, whatever the answers take: each time counts from when its request was to be sent.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinSet;

/// Requests to one path take their turn with those to the others.
pub struct Asked {
    /// For people: the path with `{id}`.
    pub name: &'static str,
    /// Paths to ask for, one after another.
    pub paths: Vec<String>,
}

/// How long answers took.
#[derive(Default)]
pub struct Times(Vec<Duration>);

impl Times {
    /// The shortest time that so many per cent of the answers did not exceed.
    pub fn at(&mut self, percent: f64) -> Duration {
        self.0.sort_unstable();
        let place = (self.0.len() as f64 * percent / 100.0).ceil() as usize;
        self.0.get(place.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Those of another one too.
    pub fn add(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }
}

/// Asks for all paths in turn, so many a second. Every answer must be a good one.
pub async fn run(
    url: &str,
    key: &str,
    asked: &[Asked],
    per_second: u32,
    time: Duration,
) -> BTreeMap<&'static str, Times> {
    #[expect(clippy::disallowed_methods, reason = "a bench's own client reaches loopback")]
    let client = reqwest::Client::new();
    let (gap, count) = (Duration::from_secs(1) / per_second, time.as_secs() as usize * per_second as usize);
    let (began, mut answers) = (Instant::now(), JoinSet::new());
    for number in 0..count {
        let due = began + gap * u32::try_from(number).expect("few requests");
        tokio::time::sleep_until(due.into()).await;
        let of = &asked[number % asked.len()];
        let path = &of.paths[number / asked.len() % of.paths.len()];
        let request = client.get(format!("{url}{path}")).bearer_auth(key);
        let name = of.name;
        answers.spawn(async move {
            let answer = request.send().await.expect("an answer");
            assert!(answer.status().is_success(), "{name}: {}", answer.status());
            answer.bytes().await.expect("a whole answer");
            (name, due.elapsed())
        });
    }
    let mut times: BTreeMap<&'static str, Times> = BTreeMap::new();
    while let Some(answer) = answers.join_next().await {
        let (name, took) = answer.expect("an answer");
        times.entry(name).or_default().0.push(took);
    }
    times
}

/// Tries to sign in, so many a second, each time from another network and to an address that nobody has. How many answers had which status.
pub async fn sign_ins(url: &str, per_second: u32, time: Duration) -> BTreeMap<u16, usize> {
    #[expect(clippy::disallowed_methods, reason = "a bench's own client reaches loopback")]
    let client = reqwest::Client::new();
    let (gap, count) = (Duration::from_secs(1) / per_second, time.as_secs() as u32 * per_second);
    let (began, mut answers) = (Instant::now(), JoinSet::new());
    for number in 0..count {
        tokio::time::sleep_until((began + gap * number).into()).await;
        let from = Ipv4Addr::from_bits(0x0b00_0000 + number);
        let guess = json!({ "email": format!("nobody-{number}@example.com"), "password": "correct horse battery" });
        let request = client.post(format!("{url}/auth/login")).header("X-Forwarded-For", from.to_string()).json(&guess);
        answers.spawn(async move { request.send().await.expect("an answer").status().as_u16() });
    }
    let mut by_status = BTreeMap::new();
    while let Some(status) = answers.join_next().await {
        *by_status.entry(status.expect("an answer")).or_insert(0) += 1;
    }
    by_status
}
