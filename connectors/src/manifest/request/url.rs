//! Addresses and queries as the reference builds them.

use url::Url;

use super::{super::template::Python, options::Fields};
use crate::{Error, ErrorKind, Result};

/// Joins a base and a path as the reference does.
///
/// # Errors
/// `Invalid` when the result is no http address.
pub(crate) fn join(base: &str, path: &str) -> Result<Url> {
    let joined = if path.is_empty() {
        Url::parse(base)
    } else {
        let base = if base.ends_with('/') { base.to_owned() } else { format!("{base}/") };
        Url::parse(&base)
            .and_then(|base| base.join(path))
            .map(|url| if is_relative(path) { without_empty_steps(url) } else { url })
    };
    let wrong = |why: String| {
        let message = format!(
            "`{base}` is no address of a product ({why}): it must begin with https://, as the settings give it"
        );
        Error::new(ErrorKind::Invalid, message)
    };
    let url = joined.map_err(|error| wrong(error.to_string()))?;
    if matches!(url.scheme(), "http" | "https") {
        Ok(quoted(url))
    } else {
        Err(wrong(format!("it is {} and not http or https", url.scheme())))
    }
}

/// The reference's library quotes a few characters more than the standard for addresses asks for.
fn quoted(mut url: Url) -> Url {
    if let Some(path) = quoted_text(url.path()) {
        url.set_path(&path);
    }
    if let Some(query) = url.query().and_then(quoted_text) {
        url.set_query(Some(&query));
    }
    url
}

/// The text with such characters quoted, and `%` where it quotes nothing; `None` without any.
fn quoted_text(text: &str) -> Option<String> {
    let is_quoted = |at: usize| {
        let digits = text.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let is_meant = |at: usize, c: char| match c {
        '%' => !is_quoted(at),
        _ => matches!(c, '|' | '[' | ']' | '^' | '{' | '}' | '`' | '\\'),
    };
    text.char_indices().any(|(at, c)| is_meant(at, c)).then(|| {
        let parts = text
            .char_indices()
            .map(|(at, c)| if is_meant(at, c) { format!("%{:02X}", u32::from(c)) } else { c.to_string() });
        parts.collect()
    })
}

fn is_relative(path: &str) -> bool {
    !path.starts_with(['/', '?', '#']) && Url::parse(path).is_err()
}

/// `/a//b` becomes `/a/b`, as the reference has it for joined paths.
fn without_empty_steps(mut url: Url) -> Url {
    if url.path().contains("//") {
        let mut path = url.path().to_owned();
        while path.contains("//") {
            path = path.replace("//", "/");
        }
        url.set_path(&path);
    }
    url
}

/// Adds `fields` to the query of `url`, leaving out what stands there with the same value.
///
/// # Errors
/// `Invalid` for a value that is an object.
pub(crate) fn add_query(url: &mut Url, fields: Fields) -> Result<()> {
    let present: Vec<(String, String)> =
        url.query_pairs().filter(|(_, value)| !value.is_empty()).map(|(k, v)| (k.into(), v.into())).collect();
    let mut pairs = Vec::new();
    for (name, value) in fields.0 {
        let is_there =
            present.iter().find(|(known, _)| *known == name).is_some_and(|(_, known)| *known == value.text());
        if !is_there {
            push_pairs(&mut pairs, &name, value)?;
        }
    }
    if pairs.is_empty() {
        return Ok(());
    }
    let added = encode(&pairs);
    let query = match url.query() {
        Some(old) if !old.is_empty() => format!("{old}&{added}"),
        _ => added,
    };
    url.set_query(Some(&query));
    Ok(())
}

/// A list gives one pair an item; nothing gives none.
pub(crate) fn push_pairs(pairs: &mut Vec<(String, String)>, name: &str, value: Python) -> Result<()> {
    match value {
        Python::None => {}
        Python::Dict(_) => {
            return Err(Error::new(ErrorKind::Invalid, format!("the request parameter `{name}` cannot be an object")));
        }
        Python::List(items) | Python::Tuple(items) | Python::Set(items) => {
            pairs.extend(items.iter().filter(|item| **item != Python::None).map(|item| (name.to_owned(), item.text())));
        }
        other => pairs.push((name.to_owned(), other.text())),
    }
    Ok(())
}

/// `a=b&c=d`, percent-encoded as in forms.
pub(crate) fn encode(pairs: &[(String, String)]) -> String {
    use super::super::template::percent_encode;
    let pair = |(name, value): &(String, String)| format!("{}={}", percent_encode(name), percent_encode(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// True when a credential for `home` may go to `url`: the same host, or another one of the same registered domain. Under
/// a public suffix (`co.uk`, `myshopify.com`) each name is somebody else's.
pub(crate) fn is_at_home(home: &Url, url: &Url) -> bool {
    let registered = |url: &Url| url.domain().and_then(psl::domain_str).map(str::to_owned);
    url.host_str() == home.host_str() || registered(home).is_some_and(|domain| registered(url) == Some(domain))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts taken from the reference (`urljoin` after a slash is added to the base).
    #[test]
    fn paths_join_as_in_the_reference() {
        let facts = [
            ("https://a.example/v1", "x/y", "https://a.example/v1/x/y"),
            ("https://a.example/v1/", "", "https://a.example/v1/"),
            ("https://a.example/v1", "/x?p=2", "https://a.example/x?p=2"),
            ("https://a.example/v1", "?p=2", "https://a.example/v1/?p=2"),
            ("https://a.example/v1", "https://b.example/z", "https://b.example/z"),
            ("https://a.example/v1", "a b", "https://a.example/v1/a%20b"),
            ("https://a.example//v1//", "x", "https://a.example/v1/x"),
        ];
        for (base, path, expected) in facts {
            assert_eq!(join(base, path).unwrap().as_str(), expected, "{base} {path}");
        }
        assert!(join("ftp://a.example", "x").is_err() && join("", "x").is_err());
    }

    #[test]
    fn a_parameter_that_the_address_has_already_is_not_sent_twice() {
        let mut url = Url::parse("https://a.example/?page=2&q=a%20b").unwrap();
        let fields = [
            ("page", Python::Int(2)),
            ("q", Python::Text("other".into())),
            ("l", Python::List(vec![Python::Int(1), Python::Bool(true)])),
        ];
        add_query(&mut url, Fields(fields.map(|(name, value)| (name.to_owned(), value)).to_vec())).unwrap();
        assert_eq!(url.query(), Some("page=2&q=a%20b&q=other&l=1&l=True"));
    }

    #[test]
    fn credentials_stay_within_the_domain() {
        let url = |text| Url::parse(text).unwrap();
        assert!(is_at_home(&url("https://api.shop.example/"), &url("https://eu.shop.example/x")));
        assert!(!is_at_home(&url("https://api.shop.example/"), &url("https://evil.example2/x")));
        assert!(!is_at_home(&url("https://10.0.0.1/"), &url("https://10.0.0.2/x")));
        assert!(!is_at_home(&url("https://mine.co.uk/"), &url("https://other.co.uk/x")));
        assert!(!is_at_home(&url("https://mine.myshopify.com/"), &url("https://other.myshopify.com/x")));
        assert!(!is_at_home(&url("https://localhost/"), &url("https://elsewhere/x")));
    }
}
