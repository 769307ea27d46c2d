//! OAuth 2: signing in with a code and PKCE, and the one owner of a credential's tokens.

mod answer;
mod exchange;
pub mod flow;
pub mod memory;
pub mod placeholder;
pub mod source;

pub use self::{
    flow::{AuthorizationFlow, PkceVerifier},
    memory::MemoryCredentials,
    source::{Refresh, TokenSource},
};
