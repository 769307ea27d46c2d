//! Letters about webhooks.

use jiff::Timestamp;
use url::Url;

use super::{draft::Draft, words};
use crate::ports::Letter;

/// A webhook that is called no more.
#[derive(Clone, Copy, Debug)]
pub struct WebhookDisabled<'a> {
    /// Name of the account.
    pub account: &'a str,
    /// Where it was sent to. Only the host is told: an address may hold a secret.
    pub url: &'a Url,
    /// Since when nothing arrived.
    pub failing_since: Timestamp,
    /// What the last try met.
    pub reason: &'a str,
    /// Where it is turned on again.
    pub link: Option<&'a Url>,
}

/// To who looks after the account.
pub fn webhook_disabled(to: &str, facts: &WebhookDisabled<'_>) -> Letter {
    let account = words::name(facts.account);
    Draft::new(to, &format!("A webhook of {account} was turned off"))
        .say("Nothing that was sent to this webhook arrived for a long time, so it is called no more.")
        .facts([
            ("Account", account),
            ("Host", words::name(facts.url.host_str().unwrap_or_default())),
            ("Failing since", words::time(facts.failing_since)),
            ("Last answer", words::reason(facts.reason)),
        ])
        .say("Turn it on again when the other side takes messages; what was missed can be sent again.")
        .link("Look at the webhook", facts.link)
        .write()
}
