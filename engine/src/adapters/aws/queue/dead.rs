//! Dead letters in SQS, which has no way to look at a message without receiving it.
//!
//! **Listing** receives all of them, hides each for half a minute from whoever else looks, and lets go of them when it is through. It
//! takes a second at least, the last answer of which says that there are no more. So of two who list at the same time each may see
//! a part, and of more than [`MAX_LETTERS`] not all are seen. They are in the order in which they were first sent.
//!
//! **Redriving** sends the letter anew, under a new id, and then removes it. Cut in between, it is in both queues: delivered twice at
//! worst, and never lost. SQS's own redrive moves all letters, not one.

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry as Change, Message as Received, MessageSystemAttributeName as Attribute,
    QueueAttributeName,
};
use jiff::Timestamp;

use super::{Outgoing, Part, SqsQueue, attribute, batches, body_of, error, group_of};
use crate::{
    error::{Error, ErrorKind, Result},
    ports::{DeadLetter, QueueName},
};

/// The most letters that are looked at.
const MAX_LETTERS: usize = 1000;
/// How long a letter is hidden while others are received; a hundred requests take a fraction of it.
const HOLD: Duration = Duration::from_secs(30);
/// Long polling: without it SQS asks only some of its servers, and may say that there is nothing.
const WAIT: Duration = Duration::from_secs(1);
/// The deliveries after which a message is given up, as the queue's redrive policy says. SQS goes on counting with each look.
const DELIVERIES: u32 = 5;

/// A letter in hand.
struct Held {
    receipt: String,
    text: String,
    sent_at: Timestamp,
}

/// Letters in hand, by their ids.
type Letters = BTreeMap<String, Held>;

impl SqsQueue {
    pub(super) async fn list_dead(&self, queue: QueueName, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>> {
        let url = self.url(queue, Part::Dead).await?;
        if max == 0 {
            return self.held_by_others(url).await.map(|_| Vec::new());
        }
        let mut letters = Letters::new();
        let gathered = self.gather(url, None, &mut letters).await;
        self.let_go(url, &letters).await;
        gathered?;
        let mut letters: Vec<_> = letters.into_iter().collect();
        letters.sort_by(|(one_id, one), (two_id, two)| (one.sent_at, one_id).cmp(&(two.sent_at, two_id)));
        let first = match after {
            None => 0,
            // Nobody knows any more what comes after one that is gone.
            Some(after) => letters.iter().position(|(id, _)| id == after).map_or(letters.len(), |place| place + 1),
        };
        Ok(letters.into_iter().skip(first).take(max).map(|(id, letter)| letter.shown(id)).collect())
    }

    pub(super) async fn redrive_dead(&self, queue: QueueName, id: &str) -> Result<bool> {
        let url = self.url(queue, Part::Dead).await?;
        let mut letters = Letters::new();
        let gathered = self.gather(url, Some(id), &mut letters).await;
        let found = letters.remove(id);
        self.let_go(url, &letters).await;
        gathered?;
        let Some(letter) = found else {
            return match self.held_by_others(url).await? {
                0 => Ok(false),
                _ => {
                    let message =
                        "somebody else looks at the dead letters, and may have this one; try again in half a minute";
                    Err(Error::new(ErrorKind::Retry, message).with("queue", queue.as_str()).with("message", id))
                }
            };
        };
        let message = Outgoing { group: group_of(&body_of(letter.text.clone())), text: letter.text };
        self.send_batch(queue, &[message], Duration::ZERO).await?;
        self.delete(url, &letter.receipt).await?;
        Ok(true)
    }

    /// Takes letters in hand, all or up to the one that is wanted.
    async fn gather(&self, url: &str, wanted: Option<&str>, letters: &mut Letters) -> Result<()> {
        while letters.len() < MAX_LETTERS && wanted.is_none_or(|id| !letters.contains_key(id)) {
            let page = self.receive_page(url, super::MAX_RECEIVED, HOLD, WAIT).await?;
            if page.is_empty() {
                break;
            }
            letters.extend(page.into_iter().filter_map(held));
        }
        Ok(())
    }

    /// Shows the letters to others again. Where that fails they come back by themselves.
    async fn let_go(&self, url: &str, letters: &Letters) {
        for batch in batches::cut(letters.values().enumerate(), |_| 1) {
            let entries = batch.into_iter().filter_map(|(place, letter)| {
                Change::builder()
                    .id(place.to_string())
                    .receipt_handle(&letter.receipt)
                    .visibility_timeout(0)
                    .build()
                    .ok()
            });
            let change = self.client.change_message_visibility_batch().queue_url(url);
            if let Err(error) = change.set_entries(Some(entries.collect())).send().await {
                tracing::debug!(%error, url, "dead letters stay hidden for half a minute");
            }
        }
    }

    /// About how many letters others have in hand.
    async fn held_by_others(&self, url: &str) -> Result<usize> {
        let name = QueueAttributeName::ApproximateNumberOfMessagesNotVisible;
        let ask = self.client.get_queue_attributes().queue_url(url).attribute_names(name.clone());
        let answer = ask.send().await.map_err(|error| error::failed("SQS", error).with("queue", url))?;
        Ok(answer.attributes.and_then(|attributes| attributes.get(&name)?.parse().ok()).unwrap_or(0))
    }
}

impl Held {
    fn shown(self, id: String) -> DeadLetter {
        DeadLetter { id, body: body_of(self.text), receive_count: DELIVERIES, sent_at: self.sent_at }
    }
}

fn held(received: Received) -> Option<(String, Held)> {
    let sent_ms = attribute(received.attributes.as_ref(), &Attribute::SentTimestamp).unwrap_or(0);
    let sent_at = Timestamp::from_millisecond(sent_ms).unwrap_or_default();
    let (receipt, text) = (received.receipt_handle?, received.body.unwrap_or_default());
    Some((received.message_id?, Held { receipt, text, sent_at }))
}
