//! The one place of this crate that asks for the time of day. Waiting follows tokio's clock.

/// Now: for `Retry-After` dates and the ends of access tokens, which products state as times of day.
#[allow(clippy::disallowed_methods, reason = "a connector has no Clock port; this is its one look at the wall clock")]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// So long from now; the last moment there is where that is beyond it.
pub fn after(wait: std::time::Duration) -> jiff::Timestamp {
    now().checked_add(wait).unwrap_or(jiff::Timestamp::MAX)
}
