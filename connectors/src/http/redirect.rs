//! What follows a redirect: the next request, without credentials when the origin changes.

use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, PROXY_AUTHORIZATION},
};
use url::Url;

use super::Request;
use crate::error::{Error, ErrorKind, Result};

/// The request that `answer` asks for instead of `sent`; `None` when the answer is no redirect.
///
/// # Errors
/// `BadAnswer` for a location that is no URL, `Denied` when the body would be carried to another origin.
pub(super) fn next(sent: &Request, status: StatusCode, headers: &HeaderMap) -> Result<Option<Request>> {
    let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let Some(location) = headers.get(LOCATION).filter(|_| is_redirect) else { return Ok(None) };
    let url = location.to_str().ok().and_then(|location| sent.url.join(location).ok()).ok_or_else(|| {
        Error::new(ErrorKind::BadAnswer, "the answer redirects to something that is no URL")
            .with("url", super::redact_url(&sent.url))
    })?;
    let mut request = Request { url, ..sent.clone() };
    if becomes_get(status, &sent.method) {
        request.method = Method::GET;
        request.body.clear();
        request.headers.remove(CONTENT_TYPE);
        request.headers.remove(CONTENT_LENGTH);
    }
    if !keeps_credentials(&sent.url, &request.url) {
        if !request.body.is_empty() {
            return Err(Error::new(
                ErrorKind::Denied,
                "the answer redirects a request with a body to another origin, which could carry secrets there: \
                 set the address that it redirects to",
            )
            .with("url", super::redact_url(&sent.url)));
        }
        drop_credentials(&mut request.headers);
    }
    Ok(Some(request))
}

/// 303 always, 301 and 302 for POST, as browsers and the HTTP libraries of vendors' examples do (RFC 9110, 15.4).
fn becomes_get(status: StatusCode, method: &Method) -> bool {
    match status.as_u16() {
        303 => *method != Method::HEAD,
        301 | 302 => *method == Method::POST,
        _ => false,
    }
}

/// The same origin, or the same host moving from http to https on their usual ports.
fn keeps_credentials(from: &Url, to: &Url) -> bool {
    let upgrades = from.scheme() == "http"
        && to.scheme() == "https"
        && from.host() == to.host()
        && from.port().is_none()
        && to.port().is_none();
    from.origin() == to.origin() || upgrades
}

fn drop_credentials(headers: &mut HeaderMap) {
    let secret: Vec<_> = headers
        .iter()
        .filter(|(name, value)| value.is_sensitive() || [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE].contains(name))
        .map(|(name, _)| name.clone())
        .collect();
    for name in secret {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn sent(method: Method, url: &str) -> Request {
        let mut request = Request::get(Url::parse(url).unwrap());
        request.method = method;
        request.headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
        request.headers.insert("accept", HeaderValue::from_static("application/json"));
        request.with_secret("x-api-key".parse().unwrap(), "k").unwrap()
    }

    fn follow(sent: &Request, status: u16, to: &str) -> Result<Option<Request>> {
        let headers = HeaderMap::from_iter([(LOCATION, to.parse().unwrap())]);
        next(sent, StatusCode::from_u16(status).unwrap(), &headers)
    }

    #[test]
    fn credentials_stay_at_their_origin() {
        let from = sent(Method::GET, "https://a.example/x");
        let same = follow(&from, 302, "/y").unwrap().unwrap();
        assert_eq!(same.headers.len(), 3);
        for elsewhere in
            ["https://b.example/", "http://a.example/", "https://a.example:444/", "//a.example.evil.example/"]
        {
            let next = follow(&from, 302, elsewhere).unwrap().unwrap();
            assert_eq!(next.headers.len(), 1, "{elsewhere}: {:?}", next.headers);
            assert!(next.headers.contains_key("accept"));
        }
        let plain = sent(Method::GET, "http://a.example/x");
        assert_eq!(follow(&plain, 301, "https://a.example/x").unwrap().unwrap().headers.len(), 3);
    }

    #[test]
    fn a_post_becomes_a_get_or_stays_by_its_status() {
        let mut from = sent(Method::POST, "https://a.example/x");
        from.body = "secret=1".into();
        for (status, method, is_empty) in
            [(301, Method::GET, true), (302, Method::GET, true), (303, Method::GET, true), (307, Method::POST, false)]
        {
            let next = follow(&from, status, "/y").unwrap().unwrap();
            assert_eq!((next.method, next.body.is_empty()), (method, is_empty), "{status}");
        }
    }

    #[test]
    fn a_body_is_not_carried_to_another_origin() {
        let mut from = sent(Method::POST, "https://a.example/x");
        from.body = "client_secret=1".into();
        let error = follow(&from, 307, "https://b.example/").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
    }

    #[test]
    fn an_answer_that_is_no_redirect_is_an_answer() {
        assert!(follow(&sent(Method::GET, "https://a.example/"), 201, "/y").unwrap().is_none());
        assert!(follow(&sent(Method::GET, "https://a.example/"), 304, "/y").unwrap().is_none());
    }
}
