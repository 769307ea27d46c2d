//! Requests: what goes into them, who signs them, what their answers mean.

pub(crate) mod auth;
mod backoff;
pub(crate) mod body;
mod call;
pub(crate) mod jwt;
pub(crate) mod legacy_token;
pub(crate) mod oauth;
pub(crate) mod options;
pub(crate) mod outcome;
pub(crate) mod requester;
pub(crate) mod session_token;
pub(crate) mod token_pool;
mod tries;
pub(crate) mod url;
