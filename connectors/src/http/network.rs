//! Networks of addresses (CIDR), and which of them the public Internet does not hold.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::error::{Error, ErrorKind};

/// A block of addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix_bits: u8,
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, prefix_bits: u8) -> Self {
        Self { base: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix_bits }
    }

    const fn v6(segments: [u16; 3], prefix_bits: u8) -> Self {
        let [a, b, c] = segments;
        Self { base: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), prefix_bits }
    }

    /// True when `address` lies in this network; the two families never mix.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix_bits);
                (u64::from(base.to_bits()) >> shift) == (u64::from(address.to_bits()) >> shift)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix_bits);
                base.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix_bits)
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || {
            Error::new(
                ErrorKind::Invalid,
                format!(
                    "{text:?} is no network: write an address and a prefix length, such as 10.1.0.0/16 or fd00::/8"
                ),
            )
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if base.is_ipv4() { 32 } else { 128 };
        let prefix_bits = prefix.map_or(Ok(longest), str::parse).map_err(|_| wrong())?;
        if prefix_bits > longest { Err(wrong()) } else { Ok(Self { base, prefix_bits }) }
    }
}

/// Blocks that no public service answers from, by the IANA special-purpose registries (RFC 6890 and its updates).
const NOT_PUBLIC: &[(Network, &str)] = &[
    (Network::v4(0, 0, 0, 0, 8), "unspecified"),
    (Network::v4(10, 0, 0, 0, 8), "private"),
    (Network::v4(100, 64, 0, 0, 10), "carrier-grade NAT"),
    (Network::v4(127, 0, 0, 0, 8), "loopback"),
    (Network::v4(169, 254, 0, 0, 16), "link-local or cloud metadata"),
    (Network::v4(172, 16, 0, 0, 12), "private"),
    (Network::v4(192, 0, 0, 0, 24), "protocol assignments"),
    (Network::v4(192, 0, 2, 0, 24), "documentation"),
    (Network::v4(192, 31, 196, 0, 24), "AS112"),
    (Network::v4(192, 52, 193, 0, 24), "multicast relay"),
    (Network::v4(192, 88, 99, 0, 24), "6to4 relay"),
    (Network::v4(192, 168, 0, 0, 16), "private"),
    (Network::v4(192, 175, 48, 0, 24), "AS112"),
    (Network::v4(198, 18, 0, 0, 15), "benchmarking"),
    (Network::v4(198, 51, 100, 0, 24), "documentation"),
    (Network::v4(203, 0, 113, 0, 24), "documentation"),
    (Network::v4(224, 0, 0, 0, 4), "multicast"),
    (Network::v4(240, 0, 0, 0, 4), "reserved or broadcast"),
    // Everything the registry has not handed out as global unicast (2000::/3): ::, ::1, v4-mapped, NAT64, unique
    // local, link-local, multicast. Blocks inside 2000::/3 that are special follow.
    (Network::v6([0, 0, 0], 3), "unspecified, loopback, v4-mapped or NAT64"),
    (Network::v6([0x2001, 0, 0], 23), "protocol assignments or Teredo"),
    (Network::v6([0x2001, 0xdb8, 0], 32), "documentation"),
    (Network::v6([0x2002, 0, 0], 16), "6to4"),
    (Network::v6([0x2620, 0x4f, 0x8000], 48), "AS112"),
    (Network::v6([0x3fff, 0, 0], 20), "documentation"),
    (Network::v6([0x4000, 0, 0], 2), "unassigned"),
    (Network::v6([0x8000, 0, 0], 2), "unassigned"),
    (Network::v6([0xc000, 0, 0], 3), "unassigned"),
    (Network::v6([0xe000, 0, 0], 4), "unassigned"),
    (Network::v6([0xf000, 0, 0], 5), "unassigned"),
    (Network::v6([0xf800, 0, 0], 6), "unassigned"),
    (Network::v6([0xfc00, 0, 0], 7), "unique local"),
    (Network::v6([0xfe00, 0, 0], 9), "unassigned"),
    (Network::v6([0xfe80, 0, 0], 10), "link-local"),
    (Network::v6([0xfec0, 0, 0], 10), "site-local"),
    (Network::v6([0xff00, 0, 0], 8), "multicast"),
];

/// What kind of non-public address this is; `None` for one of the public Internet.
pub fn special_use(address: IpAddr) -> Option<&'static str> {
    NOT_PUBLIC.iter().find(|(network, _)| network.contains(address)).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_parse_print_and_contain() {
        let network: Network = "10.1.0.0/16".parse().unwrap();
        assert!(network.contains("10.1.255.255".parse().unwrap()));
        assert!(!network.contains("10.2.0.0".parse().unwrap()));
        assert!(!network.contains("::ffff:10.1.0.1".parse().unwrap()));
        assert_eq!(network.to_string(), "10.1.0.0/16");
        let one: Network = "::1".parse().unwrap();
        assert!(one.contains("::1".parse().unwrap()) && !one.contains("::2".parse().unwrap()));
        let all: Network = "::/0".parse().unwrap();
        assert!(all.contains("2600::1".parse().unwrap()));
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("8.8.8.8".parse().unwrap()));
    }

    #[test]
    fn a_wrong_network_says_what_is_expected() {
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "fd00::/129", "10.0.0.0/-1", "example.com/8"] {
            let error = wrong.parse::<Network>().unwrap_err();
            assert!(error.to_string().contains("10.1.0.0/16"), "{error}");
        }
    }
}
