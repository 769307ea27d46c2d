//! Faults that can be switched on, to see how a reader takes them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One order to `POST /_sandbox/faults`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FaultOrder {
    /// Requests whose path begins so; every data request by default.
    #[serde(default = "any_path")]
    pub path: String,
    /// The first matching request from now on that it strikes; 1 is the next.
    #[serde(default = "one")]
    pub nth: u64,
    /// How many in a row it strikes.
    #[serde(default = "one")]
    pub times: u64,
    /// What happens.
    pub fault: Fault,
}

/// What can happen to an answer.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// This status instead of data.
    Status {
        /// 429, 500, 503, …
        status: u16,
        /// `Retry-After`, in seconds.
        retry_after_s: Option<u64>,
    },
    /// The connection breaks in the middle of the body.
    Cut,
    /// A page that is no JSON, with status 200.
    NotJson,
    /// An empty body with status 200.
    Empty,
    /// The page comes late.
    Slow {
        /// By so much.
        delay_ms: u64,
    },
}

fn any_path() -> String {
    "/".to_owned()
}

fn one() -> u64 {
    1
}

/// The faults that wait for their request.
#[derive(Default)]
pub struct Faults(Vec<(FaultOrder, u64)>);

impl Faults {
    /// Arms a fault.
    pub fn arm(&mut self, order: FaultOrder) {
        self.0.push((order, 0));
    }

    /// Disarms all.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault that strikes a request for `path`, if one does; the first armed wins.
    pub fn strike(&mut self, path: &str) -> Option<Fault> {
        let mut struck = None;
        for (order, seen) in self.0.iter_mut().filter(|(order, _)| path.starts_with(&order.path)) {
            *seen += 1;
            let is_due = (order.nth..order.nth.saturating_add(order.times)).contains(seen);
            if is_due && struck.is_none() {
                struck = Some(order.fault.clone());
            }
        }
        self.0.retain(|(order, seen)| *seen + 1 < order.nth.saturating_add(order.times));
        struck
    }
}

impl Fault {
    /// How long the answer is held back.
    pub fn delay(&self) -> Duration {
        match self {
            Self::Slow { delay_ms } => Duration::from_millis(*delay_ms),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_the_requests_it_was_ordered_for() {
        let mut faults = Faults::default();
        let order = r#"{"path":"/contacts","nth":2,"times":2,"fault":{"kind":"status","status":503}}"#;
        faults.arm(serde_json::from_str(order).unwrap());
        let strikes: Vec<bool> = ["/contacts", "/companies", "/contacts", "/contacts", "/contacts"]
            .into_iter()
            .map(|path| faults.strike(path).is_some())
            .collect();
        assert_eq!(strikes, [false, false, true, true, false]);
    }
}
