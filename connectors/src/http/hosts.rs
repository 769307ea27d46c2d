//! Hosts that a secret may be sent to, as people name them: `api.example.com`, `*.example.com`, `127.0.0.1:8700`.

use std::str::FromStr;

use url::{Host, Url};

use crate::error::{Error, ErrorKind, Problem, Result};

/// What a host must be.
const FORM: &str = "must be a host such as api.example.com, or *.example.com for all below it; with a port (crm.example.com:8443) where \
    it is not https on 443";

/// A list of hosts. Without a port, one means https on its usual port; with a port, that port and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(Vec<Named>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    /// As addresses have it: lower case, without Unicode, IPv6 in brackets.
    host: String,
    /// All below it, and not itself.
    is_above: bool,
    port: Option<u16>,
}

impl Hosts {
    /// Reads a list, which must have at least one.
    ///
    /// # Errors
    /// `Invalid` with every wrong one, each at its place in the list (`/0`); at `""` when there are none.
    pub fn read(texts: &[String]) -> Result<Self> {
        let mut hosts = Vec::with_capacity(texts.len());
        let mut problems = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            match text.parse() {
                Ok(host) if hosts.contains(&host) => {}
                Ok(host) => hosts.push(host),
                Err(()) => problems.push(Problem { place: format!("/{number}"), message: FORM.to_owned() }),
            }
        }
        if texts.is_empty() {
            let message = "must name at least one host that the secret may be sent to".to_owned();
            problems.push(Problem { place: String::new(), message });
        }
        if problems.is_empty() { Ok(Self(hosts)) } else { Err(Error::invalid("the hosts are not valid", problems)) }
    }

    /// True when the address is at one of them.
    pub fn have(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        self.0.iter().any(|named| named.is_host(host) && named.is_port(url))
    }

    /// As people name them.
    pub fn names(&self) -> Vec<String> {
        let name = |named: &Named| {
            let port = named.port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("{}{}{port}", if named.is_above { "*." } else { "" }, named.host)
        };
        self.0.iter().map(name).collect()
    }
}

impl Named {
    fn is_host(&self, host: &str) -> bool {
        match self.is_above {
            true => host.strip_suffix(&self.host).is_some_and(|below| below.len() > 1 && below.ends_with('.')),
            false => host == self.host,
        }
    }

    /// Whoever names no port has not said that the secret may go unencrypted.
    fn is_port(&self, url: &Url) -> bool {
        match self.port {
            Some(port) => url.port_or_known_default() == Some(port),
            None => url.scheme() == "https" && url.port().is_none(),
        }
    }
}

impl FromStr for Named {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (is_above, text) = text.strip_prefix("*.").map_or((false, text), |below| (true, below));
        // The colons of an address in brackets are its own.
        let (host, port) = match text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
            Some((host, port)) => {
                let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
                (host, Some(port.parse().ok().filter(|port| is_number && *port > 0).ok_or(())?))
            }
            None => (text, None),
        };
        // Names of addresses take escapes and Unicode; what a person writes here has neither escapes nor a second star.
        let host = Host::parse(host).ok().filter(|_| !host.contains(['%', '*'])).ok_or(())?;
        let is_fit = match &host {
            Host::Domain(name) => !name.is_empty() && !name.ends_with('.') && (!is_above || name.contains('.')),
            Host::Ipv4(_) | Host::Ipv6(_) => !is_above,
        };
        if is_fit { Ok(Self { host: host.to_string(), is_above, port }) } else { Err(()) }
    }
}

/// Refuses to carry a secret to a host that is none of them.
pub(super) fn refused(url: &Url) -> Error {
    let message = "the request would carry the secret of an OAuth app to a host that the app does not name, so it was not sent: \
        connect the product at one of the app's hosts, or have this one added to the app's `hosts`";
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let host = format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default());
    Error::new(ErrorKind::Denied, message).with("host", host)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts(names: &[&str]) -> Hosts {
        Hosts::read(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn have(names: &[&str], url: &str) -> bool {
        hosts(names).have(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_host_is_itself_over_https_on_its_usual_port() {
        let names = ["API.example.com"];
        assert!(have(&names, "https://api.example.com/x") && have(&names, "https://api.example.com:443/"));
        assert!(have(&names, "https://user@api.EXAMPLE.com/"));
        for elsewhere in [
            "http://api.example.com/",
            "https://api.example.com:8443/",
            "https://example.com/",
            "https://x.api.example.com/",
            "https://api.example.com.evil.example/",
            "https://evil.example/api.example.com",
            "https://api.example.com@evil.example/",
            "https://xapi.example.com/",
            "https://api.example.com./",
        ] {
            assert!(!have(&names, elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn a_star_is_all_below_and_a_port_is_that_port() {
        assert!(
            have(&["*.example.com"], "https://a.b.example.com/") && have(&["*.example.com"], "https://a.example.com/")
        );
        for elsewhere in
            ["https://example.com/", "https://aexample.com/", "https://.example.com/", "https://a.example.com.evil/"]
        {
            assert!(Url::parse(elsewhere).is_ok_and(|url| !hosts(&["*.example.com"]).have(&url)), "{elsewhere}");
        }
        for (name, url) in
            [("127.0.0.1:8080", "http://127.0.0.1:8080/"), ("[::1]:80", "http://[::1]/"), ("[::1]", "https://[::1]/")]
        {
            assert!(have(&[name], url), "{name} {url}");
        }
        assert!(!have(&["127.0.0.1:8080"], "http://127.0.0.1:8081/") && !have(&["127.0.0.1"], "http://127.0.0.1/"));
        assert!(
            have(&["b\u{fc}cher.example"], "https://xn--bcher-kva.example/"),
            "names are compared as they are asked for"
        );
    }

    #[test]
    fn what_names_no_host_is_refused_with_its_place() {
        let wrong = [
            "",
            "*",
            "*.",
            "*.com",
            "*.1.2.3.4",
            "a b",
            "https://a.example",
            "a.example/",
            "a.example:",
            "a.example:0",
            "a:b",
            "a.example:99999",
            "a.example:+1",
            "a@b.example",
            "*.*.example.com",
            "a.*.example.com",
            "a%2eb.example",
            "a.example.",
            "::1",
        ];
        let error = Hosts::read(&wrong.map(str::to_owned)).unwrap_err();
        let places: Vec<_> = error.problems().iter().map(|problem| problem.place.clone()).collect();
        assert_eq!(
            places,
            (0..wrong.len()).map(|number| format!("/{number}")).collect::<Vec<_>>(),
            "{:?}",
            error.problems()
        );
        assert_eq!(Hosts::read(&[]).unwrap_err().problems().len(), 1);
        assert_eq!(hosts(&["*.A.example:1", "b.example", "b.example"]).names(), ["*.a.example:1", "b.example"]);
    }

    proptest! {
        #[test]
        fn a_name_has_its_own_address_and_no_other(name in "[a-z]{1,6}(\\.[a-z]{1,6}){1,3}", more in "[a-z]{1,6}", port in 1_u16..) {
            let url = |text: String| Url::parse(&text).unwrap();
            let (exact, below) = (hosts(&[&name]), hosts(&[&format!("*.{name}")]));
            let with_port = hosts(&[&format!("{name}:{port}")]);
            let (itself, inside) = (url(format!("https://{name}/")), url(format!("https://{more}.{name}/")));
            prop_assert!(exact.have(&itself) && !below.have(&itself));
            prop_assert!(below.have(&inside) && !exact.have(&inside));
            for other in [format!("{more}{name}"), format!("{name}.{more}"), format!("{name}{more}")] {
                let other = url(format!("https://{other}/"));
                prop_assert!(!exact.have(&other) && !with_port.have(&other), "{other}");
                let is_inside = other.host_str().is_some_and(|host| host.ends_with(&format!(".{name}")));
                prop_assert_eq!(below.have(&other), is_inside, "{}", other);
            }
            let plain = url(format!("http://{name}:{port}/"));
            prop_assert!(with_port.have(&plain) && !exact.have(&plain));
            let at_port = url(format!("https://{name}:{port}/"));
            prop_assert_eq!(exact.have(&at_port), port == 443);
            let read_again = Hosts::read(&with_port.names()).unwrap();
            prop_assert_eq!(read_again, with_port);
        }
    }
}
