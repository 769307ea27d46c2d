//! Stripe over plain HTTP: form bodies, one pinned version of its interface, and an idempotency key with whatever makes or changes.

mod answers;
pub mod signature;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use listbackup_connectors::http::{HeaderName, HeaderValue, HttpClient, Method, Request, Response, RetryPolicy};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::{Url, form_urlencoded};

pub use self::answers::{Invoice, PaymentMethod, Subscriptions};
use crate::{
    error::{Error, ErrorKind, Result},
    model::billing::Subscription,
};

/// The version of Stripe's interface that this is written for.
pub const VERSION: &str = "2024-06-20";
/// Where Stripe is.
pub const API_URL: &str = "https://api.stripe.com";
/// Subscriptions of one customer that are looked at: they have one, and those before it.
const SUBSCRIPTIONS_MAX: &str = "100";

/// How Stripe is reached.
#[derive(Clone, Debug)]
pub struct StripeSettings {
    /// The secret key.
    pub key: SecretString,
    /// What its webhooks are signed with; without it none is taken.
    pub webhook_secret: Option<SecretString>,
    /// Where it is.
    pub api_url: Url,
}

/// The account at Stripe. Cheap to clone.
#[derive(Clone)]
pub struct Stripe {
    http: HttpClient,
    settings: Arc<StripeSettings>,
}

/// A form's fields.
type Form<'a> = [(&'a str, String)];

impl Stripe {
    /// Over the guarded client.
    pub fn new(http: HttpClient, settings: StripeSettings) -> Self {
        Self { http, settings: Arc::new(settings) }
    }

    /// What webhooks are signed with.
    pub fn webhook_secret(&self) -> Option<&SecretString> {
        self.settings.webhook_secret.as_ref()
    }

    /// Makes a customer; the same one again for the same key.
    ///
    /// # Errors
    /// `Retry` when Stripe cannot be reached or refuses our key; `Invalid` when it refuses the request.
    pub async fn make_customer(&self, form: &Form<'_>, idempotency: &str) -> Result<String> {
        answers::text(&self.post("customers", form, idempotency).await?, "id")
    }

    /// The subscriptions of a customer as they are now. `before` is the one that was known, and `is_plan` says whether a
    /// price is a plan's.
    ///
    /// # Errors
    /// As [`Stripe::make_customer`].
    pub async fn subscriptions(
        &self,
        customer_id: &str,
        before: Option<&Subscription>,
        is_plan: impl Fn(&str) -> bool + Send,
        now: Timestamp,
    ) -> Result<Subscriptions> {
        let query = [
            ("customer", customer_id.to_owned()),
            ("status", "all".to_owned()),
            ("limit", SUBSCRIPTIONS_MAX.to_owned()),
            ("expand[]", "data.latest_invoice".to_owned()),
        ];
        match self.get("subscriptions", &query).await {
            Ok(list) => answers::subscriptions(&list, before, is_plan, now),
            // A customer who was deleted there has none.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Subscriptions::default()),
            Err(error) => Err(error),
        }
    }

    /// Changes a subscription.
    ///
    /// # Errors
    /// As [`Stripe::make_customer`].
    pub async fn change(&self, subscription_id: &str, form: &Form<'_>, idempotency: &str) -> Result<()> {
        self.post(&format!("subscriptions/{subscription_id}"), form, idempotency).await.map(drop)
    }

    /// Ends a subscription at once; what was paid for the time that is left counts towards the customer's next invoice. One that is over
    /// already stays so.
    ///
    /// # Errors
    /// As [`Stripe::make_customer`].
    pub async fn end(&self, subscription_id: &str) -> Result<()> {
        let mut url = self.url(&format!("subscriptions/{subscription_id}"))?;
        url.query_pairs_mut().extend_pairs([("prorate", "true"), ("invoice_now", "true")]);
        match self.send(Request { method: Method::DELETE, ..Request::get(url) }).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Begins a checkout or a visit of the portal: where to send the person.
    ///
    /// # Errors
    /// As [`Stripe::make_customer`].
    pub async fn session(&self, path: &str, form: &Form<'_>, idempotency: &str) -> Result<String> {
        answers::text(&self.post(path, form, idempotency).await?, "url")
    }

    /// Invoices of a customer, newest first, after one of them; and whether there are more.
    ///
    /// # Errors
    /// As [`Stripe::make_customer`].
    pub async fn invoices(&self, customer_id: &str, limit: usize, after: Option<&str>) -> Result<(Vec<Invoice>, bool)> {
        let mut query = vec![("customer", customer_id.to_owned()), ("limit", limit.to_string())];
        query.extend(after.map(|after| ("starting_after", after.to_owned())));
        answers::list(&self.get("invoices", &query).await?, answers::invoice)
    }

    /// Cards of a customer.
    ///
    /// # Errors
    /// As [`Stripe::make_customer`].
    pub async fn payment_methods(&self, customer_id: &str) -> Result<Vec<PaymentMethod>> {
        let query = [("customer", customer_id.to_owned()), ("type", "card".to_owned()), ("limit", "100".to_owned())];
        Ok(answers::list(&self.get("payment_methods", &query).await?, answers::payment_method)?.0)
    }

    async fn get(&self, path: &str, query: &Form<'_>) -> Result<Value> {
        let mut url = self.url(path)?;
        url.query_pairs_mut().extend_pairs(query);
        self.send(Request::get(url)).await
    }

    async fn post(&self, path: &str, form: &Form<'_>, idempotency: &str) -> Result<Value> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = Request::post(self.url(path)?, "application/x-www-form-urlencoded", body);
        debug_assert_eq!(request.method, Method::POST, "whatever changes something has a key");
        let value = HeaderValue::from_str(idempotency).map_err(|_| unexpected("an idempotency key is no header"))?;
        request.headers.insert(HeaderName::from_static("idempotency-key"), value);
        self.send(request).await
    }

    fn url(&self, path: &str) -> Result<Url> {
        let base = self.settings.api_url.as_str().trim_end_matches('/');
        format!("{base}/v1/{path}").parse().map_err(|_| unexpected("an id of Stripe makes no address"))
    }

    /// A connection that breaks is tried again: a repeat has the same idempotency key.
    async fn send(&self, request: Request) -> Result<Value> {
        let key = format!("Bearer {}", self.settings.key.expose_secret());
        let mut request = request.with_secret(listbackup_connectors::http::AUTHORIZATION, &key)?;
        request.headers.insert(HeaderName::from_static("stripe-version"), HeaderValue::from_static(VERSION));
        let policy = RetryPolicy { retries_max: 2, first_wait: Duration::from_millis(200), ..RetryPolicy::default() };
        let answer = policy.run(|| self.http.send_once(request.clone())).await;
        let answer = answer.map_err(|error| {
            tracing::error!(%error, "Stripe cannot be reached");
            Error::new(ErrorKind::Retry, "the payment provider cannot be reached; try again later").caused_by(error)
        })?;
        parsed(&answer)
    }
}

fn parsed(answer: &Response) -> Result<Value> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let status = answer.status.as_u16();
    if answer.status.is_success() {
        return Ok(body);
    }
    let told = body["error"]["message"].as_str().unwrap_or("no reason given").to_owned();
    tracing::warn!(status, told, url = %listbackup_connectors::http::redact_url(&answer.url), "Stripe refuses");
    Err(match status {
        404 => Error::new(ErrorKind::NotFound, "the payment provider knows no such thing"),
        // The operator's affair: the key is wrong, or lacks a permission.
        401 | 403 => Error::new(ErrorKind::Retry, "the payment provider refuses this server; its operator must look"),
        402 => Error::new(ErrorKind::Invalid, format!("the payment provider refuses the payment: {told}")),
        409 | 429 | 500.. => Error::new(ErrorKind::Retry, "the payment provider is in trouble; try again later"),
        _ => Error::new(ErrorKind::Invalid, format!("the payment provider refuses this: {told}")),
    })
}

fn unexpected(what: &'static str) -> Error {
    Error::new(ErrorKind::Bug, what)
}
