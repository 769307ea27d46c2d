//! Sends due deliveries of events to webhooks. Rows in the `due` index say what is to be sent and when ([`super::followers`] writes
//! them, and the relay rings the [`bell`](super::bell)); a conditional write takes one up for a minute, so that of many processes one
//! sends it, and another one when that dies. So a receiver gets each delivery at least once, with the same id each time, and in no
//! certain order.
//!
//! A slow receiver holds up nobody else: its deliveries are a few at a time, and a look that waits for it leaves it out of others
//! ([`Courier`]).

pub mod rules;
pub mod signing;
pub(super) mod written;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use listbackup_connectors::http::{
    HeaderMap, HeaderValue, HttpClient, HttpClientBuilder, Limits, Request, retry_after,
};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use url::Url;
use zeroize::Zeroizing;

use self::{
    rules::{Attempt, Verdict, judge},
    written::{CLAIM, claim, disable, drop_all, give_up_all, note, write},
};
use super::RunContext;
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        AccountId, ActivityEvent, Delivery, Webhook, WebhookId,
        scope::AccountScope,
        webhook::{DUE_SHARD, DeliveryState, WebhookState},
    },
    ports::{Query, SortRange},
    secret,
    store::{Versioned, key},
    tables::WEBHOOKS,
};

/// Rows of one read of the index.
const PAGE: usize = 200;
/// Pages of one look: a webhook with many due deliveries does not hide others.
const PAGES_MAX: usize = 50;
/// Deliveries to one webhook in one look.
const EACH_MAX: usize = 16;
/// Of those at the same time.
const AT_ONCE_EACH: usize = 4;
/// Requests of a process at the same time.
const AT_ONCE: usize = 64;
/// A receiver must have answered by then.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest answer that is read.
const ANSWER_MAX_BYTES: u64 = 256 * 1024;
/// What could not be sent for want of the store is looked at again so much later.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Letters of an error that are kept.
const ERROR_MAX: usize = 200;

/// What one look came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// How much was taken up.
    pub attempts: usize,
    /// True when more is due.
    pub has_more: bool,
    /// After so long some of it is due again.
    pub again: Vec<Duration>,
}

impl Sent {
    /// This and that.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.attempts += other.attempts;
        self.has_more |= other.has_more;
        self.again.extend(other.again);
        self
    }
}

/// Sends for one process.
pub struct Courier {
    http: HttpClient,
    slots: Semaphore,
    /// Webhooks that a look is sending to; true where another look left something to that one.
    busy: Mutex<BTreeMap<WebhookId, bool>>,
}

/// Webhooks of one look, busy until it ends, however it does.
struct Held<'a> {
    courier: &'a Courier,
    webhook_id: WebhookId,
    /// Set at the end where another look left something.
    has_left: &'a AtomicBool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let has_left = self.courier.busy().remove(&self.webhook_id).unwrap_or_default();
        self.has_left.fetch_or(has_left, Ordering::Relaxed);
    }
}

/// A webhook that is sent to, with its secrets open.
struct Receiver {
    webhook: Webhook,
    url: Url,
    secrets: Vec<Zeroizing<Vec<u8>>>,
}

impl Courier {
    /// With the address guard of the worker; redirects are not followed.
    ///
    /// # Errors
    /// As for every client.
    pub fn new(ctx: &RunContext) -> Result<Self> {
        let limits = Limits {
            head_timeout: ANSWER_TIMEOUT,
            total_timeout: ANSWER_TIMEOUT,
            body_max_bytes: ANSWER_MAX_BYTES,
            redirects_max: 0,
            ..Limits::default()
        };
        let http = HttpClientBuilder { limits, ..HttpClientBuilder::new(ctx.http.guard().clone()) }.build()?;
        Ok(Self { http, slots: Semaphore::new(AT_ONCE), busy: Mutex::default() })
    }

    /// Sends what is due, a bounded number to each webhook. Several looks may go on at the same time.
    ///
    /// # Errors
    /// `Retry` when the store cannot be reached; the next look goes on.
    pub async fn look(&self, ctx: &RunContext) -> Result<Sent> {
        let (due, has_more) = self.due(ctx).await?;
        let has_left = &AtomicBool::new(false);
        let sent = stream::iter(due)
            .map(|((account_id, webhook_id), deliveries)| async move {
                let _held = Held { courier: self, webhook_id, has_left };
                let sent = self.send_to(ctx, &ctx.system.account(account_id), webhook_id, deliveries).await;
                sent.unwrap_or_else(|error| {
                    tracing::warn!(%error, account = %account_id, webhook = %webhook_id, "events were not sent; again later");
                    Sent { again: vec![AGAIN_AFTER], ..Sent::default() }
                })
            })
            .buffer_unordered(AT_ONCE)
            .fold(Sent::default(), |all, sent| async move { all.and(sent) })
            .await;
        Ok(Sent { has_more: has_left.load(Ordering::Relaxed) || has_more && sent.attempts > 0, ..sent })
    }

    /// What is due, by webhook, without those that another look sends to; they are busy from here on.
    async fn due(
        &self,
        ctx: &RunContext,
    ) -> Result<(BTreeMap<(AccountId, WebhookId), Vec<Versioned<Delivery>>>, bool)> {
        let mut query = Query {
            table: &WEBHOOKS,
            index: Some("due"),
            partition: DUE_SHARD.to_owned(),
            sort: SortRange::Numbers(None, Some(ctx.ports.clock.now().as_millisecond() + 1)),
            descending: false,
            limit: PAGE,
            after: None,
        };
        let (mut due, mut has_more) = (BTreeMap::<_, Vec<_>>::new(), false);
        for _ in 0..PAGES_MAX {
            let page = ctx.store.sound::<Delivery>(&ctx.system, query.clone()).await?;
            for delivery in page.rows {
                let of = due.entry((delivery.row.account_id, delivery.row.webhook_id)).or_default();
                if of.len() < EACH_MAX {
                    of.push(delivery);
                } else {
                    has_more = true;
                }
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        has_more |= query.after.is_some();
        let mut busy = self.busy();
        due.retain(|(_, webhook_id), _| match busy.entry(*webhook_id) {
            Entry::Vacant(free) => {
                free.insert(false);
                true
            }
            Entry::Occupied(mut held) => {
                held.insert(true);
                false
            }
        });
        Ok((due, has_more))
    }

    async fn send_to(
        &self,
        ctx: &RunContext,
        scope: &AccountScope,
        webhook_id: WebhookId,
        due: Vec<Versioned<Delivery>>,
    ) -> Result<Sent> {
        let place = key(scope.account_id(), Webhook::sort_key(webhook_id));
        let Some(webhook) = ctx.store.find::<Webhook>(scope, place).await?.map(|found| found.row) else {
            return Ok(over(drop_all(ctx, scope, due).await?));
        };
        if webhook.state != WebhookState::Active {
            return Ok(over(give_up_all(ctx, scope, due, webhook.state).await?));
        }
        let receiver = &Receiver::open(ctx, webhook).await?;
        let each = |delivery| async move {
            self.attempt(ctx, scope, receiver, delivery).await.unwrap_or_else(|error| {
                tracing::warn!(%error, webhook = %webhook_id, "what became of a delivery was not written; it is sent again");
                Some(CLAIM.unsigned_abs())
            })
        };
        let attempts = due.len();
        let waits: Vec<_> = stream::iter(due).map(each).buffer_unordered(AT_ONCE_EACH).collect().await;
        Ok(Sent { attempts, has_more: false, again: waits.into_iter().flatten().collect() })
    }

    /// One attempt, if nobody else was first; after how long it is due again.
    async fn attempt(
        &self,
        ctx: &RunContext,
        scope: &AccountScope,
        receiver: &Receiver,
        found: Versioned<Delivery>,
    ) -> Result<Option<Duration>> {
        let Ok(_slot) = self.slots.acquire().await else { return Ok(None) };
        let Some(Versioned { row: mut delivery, version }) = claim(ctx, scope, found).await? else { return Ok(None) };
        let event = ctx.store.find::<ActivityEvent>(scope, key(delivery.event_id, delivery.event_ms)).await?;
        let Some(event) = event.map(|found| found.row) else {
            delivery.last_error = Some("the event is not in the log any more".to_owned());
            delivery.end(DeliveryState::Failed);
            return write(ctx, scope, &delivery, version).await.map(|()| None);
        };
        let attempt = self.post(ctx, receiver, &delivery, &event).await?;
        let mut byte = [0];
        ctx.ports.random.fill(&mut byte);
        let now = ctx.ports.clock.now();
        let failing_since = note(ctx, scope, &receiver.webhook, attempt.error.is_some()).await?.unwrap_or(now);
        let verdict = judge(&attempt, delivery.attempts, failing_since, now, f64::from(byte[0]) / 255.0);
        (delivery.last_status, delivery.last_error) = (attempt.status, attempt.error);
        match verdict {
            Verdict::Delivered => delivery.end(DeliveryState::Delivered),
            Verdict::Again(wait) => delivery.due_at(now + wait),
            Verdict::GiveUp => delivery.end(DeliveryState::Failed),
            Verdict::Disable(reason) => {
                disable(ctx, scope, receiver.webhook.webhook_id, reason).await?;
                delivery.end(DeliveryState::Failed);
            }
        }
        write(ctx, scope, &delivery, version).await?;
        Ok(match verdict {
            Verdict::Again(wait) => Some(wait),
            _ => None,
        })
    }

    async fn post(
        &self,
        ctx: &RunContext,
        receiver: &Receiver,
        delivery: &Delivery,
        event: &ActivityEvent,
    ) -> Result<Attempt> {
        let request = request(receiver, delivery, event, ctx.ports.clock.now())?;
        Ok(match self.http.send_once(request).await {
            Ok(answer) if answer.status.is_success() => {
                Attempt { status: Some(answer.status.as_u16()), ..Attempt::default() }
            }
            Ok(answer) => Attempt {
                status: Some(answer.status.as_u16()),
                retry_after: retry_after(&answer.headers, ctx.ports.clock.now()),
                error: Some(shortened(&String::from_utf8_lossy(&answer.body))),
            },
            Err(error) => Attempt { error: Some(shortened(&error.to_string())), ..Attempt::default() },
        })
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, BTreeMap<WebhookId, bool>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many that are not sent again.
fn over(attempts: usize) -> Sent {
    Sent { attempts, ..Sent::default() }
}

impl Receiver {
    async fn open(ctx: &RunContext, webhook: Webhook) -> Result<Self> {
        let context = signing::context(webhook.account_id, webhook.webhook_id);
        let now = ctx.ports.clock.now();
        let former = webhook.former.iter().filter(|former| former.until > now).map(|former| &former.sealed);
        let mut secrets = Vec::new();
        for sealed in std::iter::once(&webhook.sealed).chain(former) {
            secrets.push(secret::open(&*ctx.ports.keys, &context, sealed).await?);
        }
        let url = Url::parse(&webhook.url)
            .map_err(|error| Error::new(ErrorKind::Corrupt, format!("a webhook's address is none: {error}")))?;
        Ok(Self { webhook, url, secrets })
    }
}

fn request(receiver: &Receiver, delivery: &Delivery, event: &ActivityEvent, now: Timestamp) -> Result<Request> {
    let body = serde_json::to_vec(&payload(event))
        .map_err(|error| Error::new(ErrorKind::Bug, format!("an event cannot be sent: {error}")))?;
    let (id, timestamp) = (delivery.delivery_id.to_string(), now.as_second());
    let signatures: Vec<_> =
        receiver.secrets.iter().map(|secret| signing::sign(secret, &id, timestamp, &body)).collect();
    let mut request = Request::post(receiver.url.clone(), "application/json", body);
    header(&mut request.headers, "webhook-id", &id)?;
    header(&mut request.headers, "webhook-timestamp", &timestamp.to_string())?;
    header(&mut request.headers, "webhook-signature", &signatures.join(" "))?;
    Ok(request)
}

fn header(headers: &mut HeaderMap, name: &'static str, value: &str) -> Result<()> {
    let value = HeaderValue::from_str(value).map_err(|_| Error::new(ErrorKind::Bug, "a header of ours is none"))?;
    headers.insert(name, value);
    Ok(())
}

/// What is sent of an event: the same members as `GET /activity` shows, and the account.
pub fn payload(event: &ActivityEvent) -> Value {
    let at = Timestamp::from_millisecond(event.timestamp).unwrap_or_default();
    let mut data = Map::from_iter([
        ("id".to_owned(), json!(event.event_id)),
        ("account_id".to_owned(), json!(event.account_id)),
        ("actor".to_owned(), json!(event.actor)),
        ("details".to_owned(), json!(event.details)),
    ]);
    let mut add = |name: &str, value: Option<Value>| data.extend(value.map(|value| (name.to_owned(), value)));
    add("source_id", event.source_id.map(|id| json!(id)));
    add("job_id", event.job_id.map(|id| json!(id)));
    add("run_id", event.run_id.map(|id| json!(id)));
    add("sequence", event.sequence.map(|sequence| json!(sequence)));
    json!({ "type": event.kind.code(), "timestamp": at, "data": data })
}

/// The beginning of what a receiver or the network said, on one line.
fn shortened(text: &str) -> String {
    let line: String =
        text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(ERROR_MAX).collect();
    let line = line.trim();
    if line.is_empty() { "no words".to_owned() } else { line.to_owned() }
}
