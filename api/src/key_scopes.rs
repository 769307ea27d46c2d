//! What an access key may be narrowed to: services, each to look at or to change. This is the one home of the list; which scope a
//! route asks for follows from its service and verb.

use std::{fmt, str::FromStr};

use actix_web::http::Method;
use listbackup_engine::{Error, ErrorKind};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::state::Service;

/// A service, and what of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyScope {
    service: Service,
    may_write: bool,
}

impl KeyScope {
    /// What a key with scopes needs for a route: `read` of its service for GET, `write` for every other verb. The system's own routes
    /// need none.
    pub fn of(service: Service, method: &Method) -> Option<Self> {
        (service != Service::System).then(|| Self { service, may_write: method != Method::GET })
    }

    /// All that there are.
    pub fn all() -> impl Iterator<Item = Self> {
        let services = Service::ALL.into_iter().filter(|service| *service != Service::System);
        services.flat_map(|service| [false, true].map(|may_write| Self { service, may_write }))
    }

    /// True when whoever has this may do what `needed` says: writing implies reading.
    pub fn covers(self, needed: Self) -> bool {
        self.service == needed.service && (self.may_write || !needed.may_write)
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service.as_str(), if self.may_write { "write" } else { "read" })
    }
}

impl FromStr for KeyScope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::all().find(|scope| scope.to_string() == text).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "is no scope; scopes are SERVICE:read and SERVICE:write").with("scope", text)
        })
    }
}

impl Serialize for KeyScope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyScope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
