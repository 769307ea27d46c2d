//! The sandbox's rate limit: so many requests a second for each credential, in fixed seconds.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

/// Counts the requests of each credential in the present second.
pub struct RateLimit {
    per_second: u32,
    windows: HashMap<String, Window>,
}

struct Window {
    began: Instant,
    requests: u32,
}

/// What the limit says about one request.
pub struct Verdict {
    /// The request may pass.
    pub is_allowed: bool,
    /// Requests left in this second; `None` without a limit.
    pub remaining: Option<u32>,
}

impl RateLimit {
    /// `per_second` 0 is no limit.
    pub fn new(per_second: u32) -> Self {
        Self { per_second, windows: HashMap::new() }
    }

    /// Counts a request of `credential`.
    pub fn count(&mut self, credential: &str) -> Verdict {
        if self.per_second == 0 {
            return Verdict { is_allowed: true, remaining: None };
        }
        let now = Instant::now();
        let window = self.windows.entry(credential.to_owned()).or_insert(Window { began: now, requests: 0 });
        if now.duration_since(window.began) >= Duration::from_secs(1) {
            *window = Window { began: now, requests: 0 };
        }
        window.requests += 1;
        let is_allowed = window.requests <= self.per_second;
        Verdict { is_allowed, remaining: Some(self.per_second.saturating_sub(window.requests)) }
    }
}
