//! What an alert says, from the rows as they are when it is sent.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use crate::{
    error::Result,
    letters::{self, AlertKind, WebhookDisabled},
    model::{
        Account, ActivityEvent, ActivityKind, Alert, Job, Source, Webhook, alert::webhook_of, scope::AccountScope,
    },
    ports::Letter,
    run::{RunContext, absence},
    snapshot::MassAbsence,
    store::key,
};

/// Streams that a letter names.
const NAMED_MAX: usize = 10;

/// The event, and what it is about.
pub(super) struct Facts {
    event: ActivityEvent,
    about: About,
}

enum About {
    Source { kind: AlertKind, source: Box<Source>, job: Option<Box<Job>> },
    Webhook { url: Box<Url>, failing_since: Option<Timestamp> },
}

impl Facts {
    /// `None` where the event, or what it is about, is not there any more.
    pub(super) async fn of(ctx: &RunContext, scope: &AccountScope, alert: &Alert) -> Result<Option<Self>> {
        let event = ctx.store.find::<ActivityEvent>(scope, key(alert.event_id, alert.event_ms)).await?;
        let Some(event) = event.map(|found| found.row) else { return Ok(None) };
        let about = match kind(event.kind) {
            Some(kind) => About::source(ctx, scope, kind, &event).await?,
            None => About::webhook(ctx, scope, &event).await?,
        };
        Ok(about.map(|about| Self { event, about }))
    }

    /// The letter to one person.
    pub(super) fn letter(&self, to: &str, account: &Account, alert: &Alert, link: Option<&Url>) -> Letter {
        let at = Timestamp::from_millisecond(self.event.timestamp).unwrap_or_default();
        match &self.about {
            About::Source { kind, source, job } => letters::alert(
                to,
                &letters::Alert {
                    kind: *kind,
                    account: &account.name,
                    source: &source.name,
                    job: job.as_ref().map(|job| &*job.name),
                    at,
                    reason: &reason(&self.event),
                    earlier: alert.earlier,
                    link,
                },
            ),
            About::Webhook { url, failing_since } => letters::webhook_disabled(
                to,
                &WebhookDisabled {
                    account: &account.name,
                    url,
                    failing_since: failing_since.unwrap_or(at),
                    reason: self.event.details.get("reason").and_then(Value::as_str).unwrap_or_default(),
                    link,
                },
            ),
        }
    }
}

impl About {
    async fn source(
        ctx: &RunContext,
        scope: &AccountScope,
        kind: AlertKind,
        event: &ActivityEvent,
    ) -> Result<Option<Self>> {
        let Some(source_id) = event.source_id else { return Ok(None) };
        let source = ctx.store.find::<Source>(scope, key(scope.account_id(), source_id)).await?;
        let Some(source) = source.map(|found| Box::new(found.row)) else { return Ok(None) };
        let job = match event.job_id {
            Some(job_id) => ctx.store.find::<Job>(scope, key(scope.account_id(), job_id)).await?,
            None => None,
        };
        Ok(Some(Self::Source { kind, source, job: job.map(|found| Box::new(found.row)) }))
    }

    async fn webhook(ctx: &RunContext, scope: &AccountScope, event: &ActivityEvent) -> Result<Option<Self>> {
        let Some(webhook_id) = webhook_of(event) else { return Ok(None) };
        let place = key(scope.account_id(), Webhook::sort_key(webhook_id));
        let webhook = ctx.store.find::<Webhook>(scope, place).await?.map(|found| found.row);
        Ok(webhook.and_then(|Webhook { url, failing_since, .. }| {
            let url = Box::new(Url::parse(&url).ok()?);
            Some(Self::Webhook { url, failing_since })
        }))
    }
}

fn kind(kind: ActivityKind) -> Option<AlertKind> {
    Some(match kind {
        ActivityKind::RunFailed => AlertKind::RunFailed,
        ActivityKind::RunPartial => AlertKind::RunPartial,
        ActivityKind::SnapshotSuspicious => AlertKind::RunSuspicious,
        ActivityKind::SourceStale => AlertKind::SourceStale,
        ActivityKind::SourceAuthorisationLost => AlertKind::AuthorisationLost,
        _ => return None,
    })
}

/// Why, as far as the event says.
fn reason(event: &ActivityEvent) -> String {
    let details = &event.details;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let streams = || details.get("streams").cloned().unwrap_or_default();
    match event.kind {
        ActivityKind::SnapshotSuspicious => {
            let lacks: BTreeMap<String, MassAbsence> = serde_json::from_value(streams()).unwrap_or_default();
            format!("it lacks {}", absence::told(&lacks))
        }
        ActivityKind::SourceStale => {
            let stale = streams();
            let names = stale.as_array().into_iter().flatten().filter_map(|one| text(one.get("stream")));
            format!("no good backup in time of {}", listed(names))
        }
        ActivityKind::SourceAuthorisationLost => match streams().as_array().filter(|streams| !streams.is_empty()) {
            Some(names) => format!("refused for {}", listed(names.iter().filter_map(|name| text(Some(name))))),
            None => String::new(),
        },
        _ => text(details.get("error").and_then(|error| error.get("message"))).unwrap_or_default(),
    }
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        return "the source".to_owned();
    }
    let more = names.len().saturating_sub(NAMED_MAX);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
