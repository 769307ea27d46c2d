//! Events that an index shows although it may not show yet what happened before them.
//!
//! Where indexes are behind ([`Tables::index_delay`](crate::ports::Tables::index_delay)), one of two events of a run may be found before
//! the other, earlier one. The earlier one was committed first, so a delay after the later one was found, both are. So an event goes on
//! only when it was found a delay ago, and all earlier ones of its run that are found go on with it or before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

use crate::ports::Item;

/// For so long it is known when an event was found that nobody links, beyond the delay.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// When each event was found first.
#[derive(Default)]
pub(super) struct Unsettled {
    first_found: BTreeMap<String, Instant>,
    /// Runs with events that have to wait, and accounts with such events that are of no run, in this look.
    waiting: BTreeSet<String>,
}

impl Unsettled {
    /// Another look begins: its pages follow each other.
    pub(super) fn begin(&mut self) {
        self.waiting.clear();
    }

    /// Those of a page that may go on, in its order. What the store knew when it was asked for the page is in it, and not what came
    /// while its answer was on the way.
    pub(super) fn settled(&mut self, page: Vec<Item>, asked_at: Instant, delay: Duration) -> Vec<Item> {
        if delay.is_zero() {
            return page;
        }
        let now = Instant::now();
        self.first_found.retain(|_, found| now.duration_since(*found) < delay + KNOWN_FOR);
        page.into_iter().filter(|item| self.is_settled(item, (asked_at, now), delay)).collect()
    }

    fn is_settled(&mut self, item: &Item, (asked_at, now): (Instant, Instant), delay: Duration) -> bool {
        let text = |name: &str| item.body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let line = if item.body.contains_key("runId") { text("runId") } else { text("accountId") };
        let found = *self.first_found.entry(text("eventId")).or_insert(now);
        let is_settled = asked_at.duration_since(found) >= delay && !self.waiting.contains(&line);
        if !is_settled {
            self.waiting.insert(line);
        }
        is_settled
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DELAY: Duration = Duration::from_secs(2);

    fn event(id: &str, run: Option<&str>) -> Item {
        let mut body = json!({ "eventId": id, "accountId": "acc" });
        if let Some(run) = run {
            body["runId"] = json!(run);
        }
        let Value::Object(body) = body else { unreachable!("an object") };
        Item { body, version: 1 }
    }

    fn look(unsettled: &mut Unsettled, events: &[(&str, Option<&str>)], delay: Duration) -> Vec<String> {
        unsettled.begin();
        let page = events.iter().map(|(id, run)| event(id, *run)).collect();
        let settled = unsettled.settled(page, Instant::now(), delay);
        settled.iter().map(|item| item.body["eventId"].as_str().unwrap().to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn where_indexes_are_exact_nothing_waits() {
        assert_eq!(look(&mut Unsettled::default(), &[("a", Some("r")), ("b", None)], Duration::ZERO), ["a", "b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_was_long_on_the_way_shows_no_more_than_when_it_was_asked_for() {
        let mut unsettled = Unsettled::default();
        assert!(look(&mut unsettled, &[("b", Some("r"))], DELAY).is_empty());
        let asked_at = Instant::now();
        tokio::time::advance(DELAY).await;
        unsettled.begin();
        assert_eq!(unsettled.settled(vec![event("b", Some("r"))], asked_at, DELAY), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_waits_until_those_before_it_must_have_been_found_and_then_for_them() {
        let mut unsettled = Unsettled::default();
        let (first, second, other) = (("a", Some("r")), ("b", Some("r")), ("c", Some("other")));
        assert_eq!(look(&mut unsettled, &[second, other], DELAY), Vec::<String>::new());
        tokio::time::advance(DELAY).await;
        // The earlier one has come, and what came before that may still be to come.
        assert_eq!(look(&mut unsettled, &[first, second, other], DELAY), ["c"]);
        tokio::time::advance(DELAY).await;
        assert_eq!(look(&mut unsettled, &[first, second], DELAY), ["a", "b"]);
    }
}
