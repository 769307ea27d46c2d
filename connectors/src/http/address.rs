//! Which addresses a connector may reach: names are resolved, checked, and connected to as checked.
//!
//! The guard is the resolver of the HTTP client, so there is no second look-up between check and connection for a
//! name server to change its mind in. Literal addresses never reach a resolver; [`AddressGuard::check_url`] sees them.

use std::{
    error::Error as StdError,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::network::{Network, special_use};
use crate::error::{Error, ErrorKind, Result};

/// Decides which addresses may be connected to. Cheap to clone.
#[derive(Clone)]
pub struct AddressGuard {
    reach: Reach,
    names: Arc<dyn Resolve>,
}

#[derive(Clone)]
enum Reach {
    /// Public addresses and these networks.
    Public(Arc<[Network]>),
    /// Whatever the machine can reach.
    Everything,
}

impl AddressGuard {
    /// For servers and workers: only addresses of the public Internet.
    pub fn public_only() -> Self {
        Self::allowing(Vec::new())
    }

    /// Public addresses, and the networks that the operator listed.
    pub fn allowing(networks: Vec<Network>) -> Self {
        Self { reach: Reach::Public(networks.into()), names: Arc::new(SystemNames) }
    }

    /// For one-shot commands that a person runs: loopback and private addresses too.
    pub fn person() -> Self {
        Self { reach: Reach::Everything, names: Arc::new(SystemNames) }
    }

    /// Resolves names by `names` instead of the system; what it answers is checked all the same.
    #[must_use]
    pub fn resolving_with(mut self, names: Arc<dyn Resolve>) -> Self {
        self.names = names;
        self
    }

    /// Checks scheme and, where the host is a literal address, the address. Names are checked when they are resolved.
    ///
    /// # Errors
    /// `Invalid` for other schemes than http and https, `Denied` for an address out of reach.
    pub fn check_url(&self, url: &Url) -> Result<()> {
        if !matches!(url.scheme(), "http" | "https") {
            let message = format!("only http and https addresses can be requested, not {}:", url.scheme());
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            _ => return Ok(()),
        };
        self.check(address).map_err(|refused| refused.error().with("url", super::redact_url(url)))
    }

    /// Checks an address as [`AddressGuard::check_url`] does, and what its name stands for now.
    ///
    /// # Errors
    /// Those of [`AddressGuard::check_url`]; `Denied` too for a name of addresses that are all out of reach. A name that stands for none
    /// may do so later.
    pub async fn check_reach(&self, url: &Url) -> Result<()> {
        self.check_url(url)?;
        let Some(Host::Domain(name)) = url.host() else { return Ok(()) };
        let name: Name =
            name.parse().map_err(|_| Error::new(ErrorKind::Invalid, "the host's name cannot be resolved"))?;
        match self.resolve(name).await {
            Err(error) => Refused::in_chain(&*error).map_or(Ok(()), |refused| Err(refused.error())),
            Ok(_) => Ok(()),
        }
    }

    /// Checks one address; tells why when it is out of reach.
    fn check(&self, address: IpAddr) -> Result<(), Refused> {
        let Reach::Public(allowed) = &self.reach else { return Ok(()) };
        match special_use(address) {
            Some(range) if !allowed.iter().any(|network| network.contains(address)) => Err(Refused { address, range }),
            _ => Ok(()),
        }
    }
}

impl Resolve for AddressGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let mut refused = None;
            let mut reachable = Vec::new();
            for address in guard.names.resolve(name).await? {
                match guard.check(address.ip()) {
                    Ok(()) => reachable.push(address),
                    Err(why) => refused = Some(why),
                }
            }
            match refused {
                Some(why) if reachable.is_empty() => Err(why.into()),
                _ => Ok(Box::new(reachable.into_iter()) as Addrs),
            }
        })
    }
}

/// The system's resolver.
struct SystemNames;

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// An address that the guard refuses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    address: IpAddr,
    range: &'static str,
}

impl Refused {
    pub(super) fn error(self) -> Error {
        Error::new(ErrorKind::Denied, self.to_string())
    }

    /// The refusal inside another error, if there is one.
    pub(super) fn in_chain(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(refused) = error.downcast_ref::<Self>() {
                return Some(*refused);
            }
            cause = error.source();
        }
        None
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "address {} is not public ({}): the operator must list its network before it can be reached",
            self.address, self.range
        )
    }
}

impl StdError for Refused {}
