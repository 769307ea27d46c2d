//! Messages in SQS: the queue port, over four standard queues.
//!
//! They are those of [`AwsSettings::queue_name`] and [`AwsSettings::dead_letter_queue_name`], each of the first with a redrive
//! policy to its second after five deliveries. Their addresses are asked for once.
//!
//! * SQS delivers **at least once, in no order**. A request whose answer got lost is sent again by the SDK, so a message may also
//!   be sent twice.
//! * A message whose body names an `accountId` has it as its `MessageGroupId`: that makes the queue **fair**, so that an account with
//!   many messages delays its own. SQS sees to that as well as it can, and not to the message.
//! * Times are whole **seconds**, rounded up. A delay is at most 15 minutes: what is to come later comes then. A visibility is at
//!   most 12 hours, with all extensions of a delivery; after that the message comes again, whoever works on it.
//! * SQS may take the receipt of an earlier delivery for that of the present one, so `Fenced` is a hint that comes mostly. What must
//!   hold is held by conditional writes.
//! * A `receive` that is dropped while it waits may have received messages: they come again after their visibility, with one more
//!   delivery counted.
//! * Where the same message goes to two processes, both get different receipts.
//! * What a bucket tells the data queue of new objects comes in the engine's words (`notification.rs`). A notification of several
//!   objects is taken apart into messages of one each; one of none is removed.
//!
//! | call | requests |
//! |---|---|
//! | first use of a queue | 1 GetQueueUrl |
//! | send n messages | 1 SendMessageBatch for each 10, or 256 KiB |
//! | receive up to n | 1 ReceiveMessage for each 20 s of waiting; then 1 for each 10 that came at once |
//! | extend, acknowledge | 1 ChangeMessageVisibility, 1 DeleteMessage |
//! | list n dead letters | 1 ReceiveMessage and 1 ChangeMessageVisibilityBatch for each 10, and 1 ReceiveMessage |
//! | depth | 2 GetQueueAttributes |
//! | redrive | up to as many, 1 SendMessageBatch and 1 DeleteMessage |
//!
//! Dead letters are in `dead.rs`.

mod dead;
mod notification;

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_sqs::{
    Client,
    types::{
        Message as Received, MessageSystemAttributeName as Attribute, QueueAttributeName,
        SendMessageBatchRequestEntry as Entry,
    },
};
use serde_json::Value;
use tokio::{sync::OnceCell, time::Instant};

use self::notification::Told;
use super::{AwsClients, AwsSettings, batches, error};
use crate::{
    error::{Error, ErrorKind, Result},
    ports::{DeadLetter, Message, Queue, QueueDepth, QueueName},
};

/// The most messages that one request receives.
const MAX_RECEIVED: usize = 10;
const MAX_WAIT: Duration = Duration::from_secs(20);
const MAX_DELAY: Duration = Duration::from_secs(15 * 60);
const MAX_VISIBILITY: Duration = Duration::from_secs(12 * 60 * 60);
/// As long as a message group's name may be.
const MAX_GROUP_BYTES: usize = 128;
/// What a queue says of a receipt that it does not know (any more). The last is one code for many faults, told apart by words.
const STALE: &[&str] = &["ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"];
const STALE_WORDS: &[&str] = &["receipt handle", "does not exist or is not available"];

/// A queue, or where its dead letters are.
#[derive(Clone, Copy, Debug)]
enum Part {
    Live,
    Dead,
}

/// The queues of one stage; clones share their connections.
#[derive(Clone, Debug)]
pub struct SqsQueue {
    client: Client,
    settings: AwsSettings,
    /// Addresses: of jobs and data, and of the dead letters of each.
    urls: Arc<[OnceCell<String>; 4]>,
}

/// A message to send.
struct Outgoing {
    text: String,
    group: Option<String>,
}

impl SqsQueue {
    /// The queues of the settings' stage. Nothing is sent yet.
    pub fn new(clients: &AwsClients, settings: &AwsSettings) -> Self {
        Self { client: clients.sqs.clone(), settings: settings.clone(), urls: Arc::default() }
    }

    async fn url(&self, queue: QueueName, part: Part) -> Result<&str> {
        let (place, name) = match (queue, part) {
            (QueueName::Jobs, Part::Live) => (0, self.settings.queue_name(queue)),
            (QueueName::Data, Part::Live) => (1, self.settings.queue_name(queue)),
            (QueueName::Jobs, Part::Dead) => (2, self.settings.dead_letter_queue_name(queue)),
            (QueueName::Data, Part::Dead) => (3, self.settings.dead_letter_queue_name(queue)),
        };
        let ask = || async {
            let answer = self.client.get_queue_url().queue_name(&name).send().await;
            let answer = answer.map_err(|error| error::failed("SQS", error).with("queue", &name))?;
            answer.queue_url.ok_or_else(|| {
                Error::new(ErrorKind::Retry, "SQS did not tell the address of a queue").with("queue", &name)
            })
        };
        self.urls[place].get_or_try_init(ask).await.map(String::as_str)
    }

    /// Sends at most [`batches::MAX_ENTRIES`] messages, again those that SQS did not take. Returns their ids.
    async fn send_batch(&self, queue: QueueName, batch: &[Outgoing], delay: Duration) -> Result<Vec<String>> {
        let url = self.url(queue, Part::Live).await?;
        let mut ids: Vec<Option<String>> = vec![None; batch.len()];
        for attempt in 1..=batches::MAX_ATTEMPTS {
            let unsent = ids.iter().zip(batch).enumerate().filter(|(_, (id, _))| id.is_none());
            let entries = unsent.map(|(place, (_, message))| message.entry(place, delay)).collect::<Result<_>>()?;
            let send = self.client.send_message_batch().queue_url(url).set_entries(Some(entries));
            let answer =
                send.send().await.map_err(|error| error::failed("SQS", error).with("queue", queue.as_str()))?;
            for sent in answer.successful {
                if let Some(id) = sent.id.parse::<usize>().ok().and_then(|place| ids.get_mut(place)) {
                    *id = Some(sent.message_id);
                }
            }
            if ids.iter().all(Option::is_some) {
                break;
            }
            if let Some(refused) =
                answer.failed.iter().find(|failed| failed.sender_fault && !error::passes(&failed.code))
            {
                let said = refused.message.as_deref().unwrap_or("nothing more");
                let message = format!("SQS refused a message: {}, {said}", refused.code);
                return Err(Error::new(ErrorKind::Invalid, message).with("queue", queue.as_str()));
            }
            if attempt < batches::MAX_ATTEMPTS {
                tokio::time::sleep(batches::pause_after(attempt)).await;
            }
        }
        ids.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| {
            let message =
                "SQS did not take all messages; those that it took come, and come again when all are sent again";
            Error::new(ErrorKind::Retry, message).with("queue", queue.as_str())
        })
    }

    async fn receive_page(&self, url: &str, max: usize, visibility: Duration, wait: Duration) -> Result<Vec<Received>> {
        let answer = self
            .client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(max.min(MAX_RECEIVED) as i32)
            .visibility_timeout(seconds(visibility, MAX_VISIBILITY))
            .wait_time_seconds(seconds(wait, MAX_WAIT))
            .message_system_attribute_names(Attribute::ApproximateReceiveCount)
            .message_system_attribute_names(Attribute::SentTimestamp)
            .send()
            .await
            .map_err(|error| error::failed("SQS", error).with("queue", url))?;
        Ok(answer.messages.unwrap_or_default())
    }

    /// About how many messages wait for a receiver, and how many for something else.
    async fn counted(&self, queue: QueueName, part: Part) -> Result<(u64, u64)> {
        use QueueAttributeName::{
            ApproximateNumberOfMessages as Visible, ApproximateNumberOfMessagesDelayed as Delayed,
            ApproximateNumberOfMessagesNotVisible as InFlight,
        };
        let ask = self.client.get_queue_attributes().queue_url(self.url(queue, part).await?);
        let ask = ask.attribute_names(Visible).attribute_names(Delayed).attribute_names(InFlight);
        let answer = ask.send().await.map_err(|error| error::failed("SQS", error).with("queue", queue.as_str()))?;
        let told = answer.attributes.unwrap_or_default();
        let count = |name| told.get(&name).and_then(|count| count.parse::<u64>().ok()).unwrap_or_default();
        Ok((count(Visible), count(Delayed) + count(InFlight)))
    }

    /// Messages in the engine's words.
    async fn understood(&self, queue: QueueName, page: Vec<Received>) -> Result<Vec<Message>> {
        let mut messages: Vec<Message> = page.into_iter().map(message).collect();
        if queue == QueueName::Data {
            let mut of_objects = Vec::with_capacity(messages.len());
            for message in messages {
                of_objects.extend(self.taken_apart(message).await?);
            }
            messages = of_objects;
        }
        Ok(messages)
    }

    /// A message of the data queue, which then tells of one object; the others that it told of are messages of their own by then.
    async fn taken_apart(&self, mut message: Message) -> Result<Option<Message>> {
        let mut objects = match notification::told(&message.body, &self.settings.key_prefix()) {
            Told::Plain => return Ok(Some(message)),
            Told::Objects(objects) => objects,
        };
        let Some(first) = objects.pop() else {
            self.acknowledge(QueueName::Data, &message.receipt).await?;
            return Ok(None);
        };
        // Cut off after this, they are told twice, which does no harm.
        self.send(QueueName::Data, objects, Duration::ZERO).await?;
        message.body = first;
        Ok(Some(message))
    }

    async fn delete(&self, url: &str, receipt: &str) -> Result<()> {
        let delete = self.client.delete_message().queue_url(url).receipt_handle(receipt);
        match delete.send().await {
            Err(error) if !is_stale(&error) => Err(error::failed("SQS", error).with("queue", url)),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Queue for SqsQueue {
    async fn send(&self, queue: QueueName, bodies: Vec<Value>, delay: Duration) -> Result<Vec<String>> {
        let messages = bodies.iter().map(Outgoing::of).collect::<Result<Vec<_>>>()?;
        let mut ids = Vec::with_capacity(messages.len());
        for batch in batches::cut(messages, |message| message.text.len()) {
            ids.extend(self.send_batch(queue, &batch, delay).await?);
        }
        Ok(ids)
    }

    async fn receive(
        &self,
        queue: QueueName,
        max: usize,
        visibility: Duration,
        wait: Duration,
    ) -> Result<Vec<Message>> {
        let deadline = Instant::now() + wait;
        let mut found: Vec<Message> = Vec::new();
        if max == 0 {
            return Ok(found);
        }
        let url = self.url(queue, Part::Live).await?;
        loop {
            let wanted = (max - found.len()).min(MAX_RECEIVED);
            let left =
                if found.is_empty() { deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            let page = match self.receive_page(url, wanted, visibility, left).await {
                Ok(page) => page,
                // What came already is hidden from all others.
                Err(_) if !found.is_empty() => return Ok(found),
                Err(error) => return Err(error),
            };
            let was_full = page.len() >= wanted;
            found.extend(self.understood(queue, page).await?);
            let has_enough = found.len() >= max || (!found.is_empty() && !was_full);
            if has_enough || (found.is_empty() && Instant::now() >= deadline) {
                return Ok(found);
            }
        }
    }

    async fn extend(&self, queue: QueueName, receipt: &str, visibility: Duration) -> Result<()> {
        let url = self.url(queue, Part::Live).await?;
        let change = self.client.change_message_visibility().queue_url(url).receipt_handle(receipt);
        let change = change.visibility_timeout(seconds(visibility, MAX_VISIBILITY));
        match change.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_stale(&error) => {
                let message = "the message was delivered to somebody else meanwhile, or is done; stop working on it";
                Err(Error::new(ErrorKind::Fenced, message).caused_by(error).with("queue", queue.as_str()))
            }
            Err(error) => Err(error::failed("SQS", error).with("queue", queue.as_str())),
        }
    }

    async fn acknowledge(&self, queue: QueueName, receipt: &str) -> Result<()> {
        self.delete(self.url(queue, Part::Live).await?, receipt).await
    }

    async fn dead_letters(&self, queue: QueueName, after: Option<&str>, max: usize) -> Result<Vec<DeadLetter>> {
        self.list_dead(queue, after, max).await
    }

    async fn redrive(&self, queue: QueueName, id: &str) -> Result<bool> {
        self.redrive_dead(queue, id).await
    }

    async fn depth(&self, queue: QueueName) -> Result<QueueDepth> {
        let (live, dead) = tokio::try_join!(self.counted(queue, Part::Live), self.counted(queue, Part::Dead))?;
        Ok(QueueDepth { visible: live.0, hidden: live.1, dead: dead.0 + dead.1, oldest: None })
    }
}

impl Outgoing {
    fn of(body: &Value) -> Result<Self> {
        let text = text_of(body);
        if text.len() > batches::MAX_BYTES {
            let message = format!("a message is at most {} bytes of JSON", batches::MAX_BYTES);
            return Err(Error::new(ErrorKind::Invalid, message).with("size in bytes", text.len()));
        }
        Ok(Self { text, group: group_of(body) })
    }

    fn entry(&self, place: usize, delay: Duration) -> Result<Entry> {
        Entry::builder()
            .id(place.to_string())
            .message_body(&self.text)
            .delay_seconds(seconds(delay, MAX_DELAY))
            .set_message_group_id(self.group.clone())
            .build()
            .map_err(|error| Error::new(ErrorKind::Bug, "a message for SQS could not be built").caused_by(error))
    }
}

/// JSON in the characters that SQS takes: all that JSON has but two, which it can also spell.
fn text_of(body: &Value) -> String {
    body.to_string().replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff")
}

/// The account that a message is of, where its id can be the name of a group.
fn group_of(body: &Value) -> Option<String> {
    let account = body.get("accountId")?.as_str()?;
    let fits = (1..=MAX_GROUP_BYTES).contains(&account.len()) && account.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| account.to_owned())
}

/// What is no JSON is handed on as a text, for whoever expects something else to refuse.
fn body_of(text: String) -> Value {
    serde_json::from_str(&text).unwrap_or(Value::String(text))
}

fn message(received: Received) -> Message {
    let receive_count = attribute(received.attributes.as_ref(), &Attribute::ApproximateReceiveCount);
    Message {
        id: received.message_id.unwrap_or_default(),
        body: body_of(received.body.unwrap_or_default()),
        receipt: received.receipt_handle.unwrap_or_default(),
        receive_count: receive_count.unwrap_or(1),
    }
}

fn attribute<T: std::str::FromStr>(attributes: Option<&HashMap<Attribute, String>>, name: &Attribute) -> Option<T> {
    attributes?.get(name)?.parse().ok()
}

/// Whole seconds that are not shorter, up to a limit of SQS.
fn seconds(time: Duration, most: Duration) -> i32 {
    let time = time.min(most);
    time.as_secs() as i32 + i32::from(time.subsec_nanos() > 0)
}

fn is_stale(error: &impl ProvideErrorMetadata) -> bool {
    let (code, said) = (error.code().unwrap_or_default(), error.message().unwrap_or_default().to_lowercase());
    STALE.contains(&code) && (code != "InvalidParameterValue" || STALE_WORDS.iter().any(|words| said.contains(words)))
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::error::ErrorMetadata;
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_whole_seconds_within_the_limits_of_sqs() {
        for (time_ms, expected) in [(0, 0), (1, 1), (1000, 1), (1001, 2), (20_000, 20), (20_001, 20), (90_000, 20)] {
            assert_eq!(seconds(Duration::from_millis(time_ms), MAX_WAIT), expected, "{time_ms}");
        }
        assert_eq!(seconds(Duration::MAX, MAX_VISIBILITY), 43_200);
    }

    #[test]
    fn texts_have_only_characters_that_sqs_takes_and_mean_the_same() {
        let body = json!({ "a": "\u{fffe}\u{ffff}\u{0}\u{1f}\u{fffd}\u{10000}" });
        let text = text_of(&body);
        assert!(!text.contains(['\u{fffe}', '\u{ffff}', '\u{0}', '\u{1f}']), "{text}");
        assert_eq!(body_of(text), body);
        assert_eq!(body_of("no json".to_owned()), json!("no json"));
    }

    #[test]
    fn messages_of_an_account_are_a_group() {
        assert_eq!(group_of(&json!({ "accountId": "acc_1" })).as_deref(), Some("acc_1"));
        for body in [json!({}), json!("acc_1"), json!({ "accountId": 1 }), json!({ "accountId": "" })] {
            assert_eq!(group_of(&body), None, "{body}");
        }
        assert_eq!(group_of(&json!({ "accountId": "a b" })), None);
        assert_eq!(group_of(&json!({ "accountId": "a".repeat(129) })), None);
    }

    #[test]
    fn a_stale_receipt_is_told_from_other_faults() {
        for (code, said, expected) in [
            ("ReceiptHandleIsInvalid", "", true),
            ("MessageNotInflight", "", true),
            ("InvalidParameterValue", "Reason: The receipt handle has expired.", true),
            (
                "InvalidParameterValue",
                "Message does not exist or is not available for visibility timeout change.",
                true,
            ),
            ("InvalidParameterValue", "Total VisibilityTimeout for the message is beyond the limit", false),
            ("AccessDenied", "receipt handle", false),
        ] {
            let error = ErrorMetadata::builder().code(code).message(said).build();
            assert_eq!(is_stale(&error), expected, "{code} {said}");
        }
    }
}
