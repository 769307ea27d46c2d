//! Sign-ins by OAuth 2 against a certified provider, oidc-provider: PKCE, refresh tokens that work once, and a reuse of
//! one that ends the whole grant. What is connected stays connected; what cannot is told, once, and nothing else is lost.

#[path = "support/backup.rs"]
mod backup;
#[path = "support/api/client.rs"]
mod client;
#[path = "oauth/connecting.rs"]
mod connecting;
#[path = "oauth/crashes.rs"]
mod crashes;
#[path = "oauth/ended.rs"]
mod ended;
#[path = "oauth/grants.rs"]
mod grants;
#[path = "oauth/kit.rs"]
mod kit;
#[path = "support/program.rs"]
mod program;
#[path = "oauth/renewing.rs"]
mod renewing;
#[path = "support/running.rs"]
mod running;
#[path = "support/servers/mod.rs"]
mod servers;
