//! The HTTP API, as a program sees it: a real server on real stores.

#[path = "api/access.rs"]
mod access;
#[path = "api/activity.rs"]
mod activity;
#[path = "api/alerts.rs"]
mod alerts;
#[path = "api/analytics.rs"]
mod analytics;
#[path = "api/attachments.rs"]
mod attachments;
#[path = "support/authenticator.rs"]
mod authenticator;
#[path = "api/bodies.rs"]
mod bodies;
#[path = "api/comparing.rs"]
mod comparing;
#[path = "api/compression.rs"]
mod compression;
#[path = "api/connecting.rs"]
mod connecting;
#[path = "api/courier.rs"]
mod courier;
#[path = "api/credentials.rs"]
mod credentials;
#[path = "api/data.rs"]
mod data;
#[path = "api/data_keys.rs"]
mod data_keys;
#[path = "api/documentation.rs"]
mod documentation;
#[path = "api/endings.rs"]
mod endings;
#[path = "api/events.rs"]
mod events;
#[path = "api/exports.rs"]
mod exports;
#[path = "api/families.rs"]
mod families;
#[path = "api/invitations.rs"]
mod invitations;
#[path = "api/key_scopes.rs"]
mod key_scopes;
#[path = "support/api/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of the kit")]
mod kit;
#[path = "api/letters.rs"]
mod letters;
#[path = "api/lists.rs"]
mod lists;
#[path = "api/matrix.rs"]
mod matrix;
#[path = "api/oauth_apps.rs"]
mod oauth_apps;
#[path = "api/own_integrations.rs"]
mod own_integrations;
#[path = "api/retention.rs"]
mod retention;
#[path = "api/rows.rs"]
mod rows;
#[path = "api/schedules.rs"]
mod schedules;
#[path = "api/sign_in.rs"]
mod sign_in;
#[path = "api/tokens.rs"]
mod tokens;
#[path = "api/verify.rs"]
mod verify;
#[path = "api/webhooks.rs"]
mod webhooks;
#[path = "api/writes.rs"]
mod writes;
