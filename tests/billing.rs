//! Plans and payments, as people and Stripe see them: the running API beside a real localstripe.

#[path = "support/api/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of the kit")]
mod kit;
#[path = "billing/limits.rs"]
mod limits;
#[path = "billing/off.rs"]
mod off;
#[path = "billing/paying.rs"]
mod paying;
#[path = "support/servers/mod.rs"]
mod servers;
#[path = "billing/shop.rs"]
mod shop;
#[path = "billing/trees.rs"]
mod trees;
#[path = "billing/twice.rs"]
mod twice;
#[path = "billing/webhooks.rs"]
mod webhooks;
