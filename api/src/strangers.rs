//! Callers that nobody knows yet: who registers, proves an address, signs in, asks for another password.
//!
//! What one network may do of that is bounded here, for all addresses and with every identity; what may be done to one address is bounded
//! by the identity. Everybody who has a token or a key is untouched by either; refresh tokens that prove to be none are counted apart.

use std::{
    future::{Ready, ready},
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web::Data};
use listbackup_engine::{
    Error, ErrorKind,
    attempts::{Attempts, network_of},
    connectors::http::Network,
};

use crate::{problem::Problem, state::AppState};

/// Requests of a network at once: an office of people who come at nine.
const BURST: u32 = 100;
/// One more after that.
const PACE: Duration = Duration::from_millis(500);

/// What nobody known did, by network.
pub struct Strangers {
    requests: Attempts,
    /// Shown refresh tokens that were none.
    tokens: Attempts,
}

impl Default for Strangers {
    fn default() -> Self {
        Self { requests: Attempts::new(BURST, PACE), tokens: Attempts::new(BURST, PACE) }
    }
}

/// A caller without a token, whose request has been counted for their network.
pub struct Stranger {
    /// Their network address.
    pub from: IpAddr,
}

impl FromRequest for Stranger {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(counted(request, |strangers| &strangers.requests).map(|from| Self { from }))
    }
}

/// A caller with a refresh token, which is counted for their network until it has proved to be one: so nobody is signed out because
/// neighbours try passwords, and a user pool is not asked for more than that about what anybody sends.
pub struct Holder {
    network: String,
}

impl Holder {
    /// What came of the token. Only one that was refused stays counted: a store that cannot be reached says nothing of it.
    pub fn judged<T>(self, state: &AppState, outcome: Result<T, Error>) -> Result<T, Error> {
        if outcome.as_ref().err().is_none_or(|error| error.kind() != ErrorKind::Denied) {
            state.strangers.tokens.give_back(&self.network);
        }
        outcome
    }
}

impl FromRequest for Holder {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(
            counted(request, |strangers| &strangers.tokens).map(|from| Self { network: network_of(from).to_string() }),
        )
    }
}

fn counted(request: &HttpRequest, among: impl Fn(&Strangers) -> &Attempts) -> Result<IpAddr, Problem> {
    let state = request.app_data::<Data<AppState>>().ok_or_else(Problem::without_state)?;
    let from = address(request, &state.settings.proxies);
    among(&state.strangers).take(&network_of(from).to_string(), state.now())?;
    Ok(from)
}

/// The address that a request came from: that of the connection or, as far as proxies are to be believed, the last one in
/// `X-Forwarded-For` that is none of theirs. What stands further to the front is anybody's word.
fn address(request: &HttpRequest, proxies: &[Network]) -> IpAddr {
    let is_proxy = |address: IpAddr| address.is_loopback() || proxies.iter().any(|network| network.contains(address));
    let mut from = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
    let headers: Vec<_> = request.headers().get_all(header::X_FORWARDED_FOR).collect();
    let named = headers.iter().rev().filter_map(|value| value.to_str().ok()).flat_map(|value| value.rsplit(','));
    for name in named {
        if !is_proxy(from) {
            break;
        }
        match name.trim().parse::<IpAddr>() {
            Ok(address) => from = address.to_canonical(),
            Err(_) => break,
        }
    }
    from
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn seen(peer: &str, forwarded: &[&str]) -> String {
        let mut request = TestRequest::default().peer_addr(format!("{peer}:1234").parse().unwrap());
        for value in forwarded {
            request = request.append_header((header::X_FORWARDED_FOR, *value));
        }
        address(&request.to_http_request(), &["10.0.0.0/8".parse().unwrap()]).to_string()
    }

    #[test]
    fn a_caller_is_where_the_last_proxy_that_is_to_be_believed_saw_them() {
        assert_eq!(seen("198.51.100.7", &[]), "198.51.100.7");
        assert_eq!(seen("198.51.100.7", &["203.0.113.9"]), "198.51.100.7", "anybody may write that header");
        assert_eq!(seen("127.0.0.1", &["203.0.113.9"]), "203.0.113.9", "a proxy on this machine");
        assert_eq!(seen("10.1.2.3", &["192.0.2.1, 203.0.113.9"]), "203.0.113.9", "what came in is not believed");
        assert_eq!(
            seen("10.1.2.3", &["192.0.2.1", "203.0.113.9, 10.9.9.9"]),
            "203.0.113.9",
            "two proxies, two headers"
        );
        assert_eq!(seen("[::ffff:10.1.2.3]", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(seen("10.1.2.3", &["nobody"]), "10.1.2.3");
        assert_eq!(seen("127.0.0.1", &[]), "127.0.0.1");
    }
}
