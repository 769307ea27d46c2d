//! `HTTPAPIBudget`: how many requests of which kind the product allows, and what its headers say is left.

use std::time::Duration as StdDuration;

use regex::Regex;
use url::Url;

use super::{
    load::{Take, View, scalar_text},
    template::{Engine, Scope, Template, expression},
    time::Duration,
    yaml::Data,
};
use crate::{
    Error, ErrorKind, Result,
    http::{HeaderName, QuotaHeaders, RETRY_AFTER, Rate, RateBudget, Request, Response},
};

/// The component as the manifest writes it.
#[derive(Debug)]
pub(crate) struct CallRates {
    policies: Vec<Policy>,
    remaining: HeaderName,
    reset: HeaderName,
    hit_codes: Vec<u16>,
}

#[derive(Debug)]
struct Policy {
    matchers: Vec<Matcher>,
    /// None for requests without limit.
    rates: Vec<(Template, StdDuration)>,
}

/// `HttpRequestRegexMatcher`: a kind of request, and how many others it counts for.
#[derive(Clone, Debug)]
pub(crate) struct Matcher {
    method: Option<String>,
    base: Option<String>,
    path: Option<Regex>,
    params: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    weight: Option<Template>,
}

impl CallRates {
    /// Reads the component in the field called `api_budget`.
    pub(crate) fn load(source: &View<'_>) -> Take<Option<Self>> {
        let Some(view) = source.child("api_budget") else { return Ok(None) };
        if view.kind() != "HTTPAPIBudget" {
            return Err(view.unsupported("API budget"));
        }
        let header = |name: &str, default: &str| {
            let text = view.text(name)?.unwrap_or_else(|| default.to_owned());
            HeaderName::from_bytes(text.as_bytes()).map_err(|_| view.problem(format!("`{text}` is no header's name")))
        };
        let policies: Vec<_> = view.children("policies").iter().map(Policy::load).collect();
        let codes = view.texts("status_codes_for_ratelimit_hit")?.unwrap_or_else(|| vec!["429".into()]);
        let codes =
            codes.iter().map(|code| code.parse().map_err(|_| view.problem(format!("`{code}` is no HTTP status"))));
        Ok(Some(Self {
            policies: policies.into_iter().collect::<Take<_>>()?,
            remaining: header("ratelimit_remaining_header", "ratelimit-remaining")?,
            reset: header("ratelimit_reset_header", "ratelimit-reset")?,
            hit_codes: codes.collect::<Take<_>>()?,
        }))
    }

    /// The budget for one person's settings, as a part of what their credential may do.
    ///
    /// # Errors
    /// `Invalid` when a limit or a weight is no whole number above zero; as for templates.
    pub(crate) fn bind(&self, engine: &Engine, scope: &Scope, credential: &RateBudget) -> Result<Budget> {
        let policies = self.policies.iter().enumerate().map(|(index, policy)| {
            let headers =
                QuotaHeaders { remaining: Some(self.remaining.clone()), limit: None, reset: Some(self.reset.clone()) };
            let rates = policy
                .rates
                .iter()
                .map(|(limit, window)| Ok(Rate { requests: positive(limit, engine, scope)?, window: *window }));
            let rates = rates.collect::<Result<Vec<_>>>()?;
            let budget = match rates.as_slice() {
                [] => None,
                rates => Some(credential.part(&format!("policy {index}"), rates, headers)?),
            };
            let matchers = policy.matchers.iter().map(|matcher| {
                let weight = matcher.weight.as_ref().map(|weight| positive(weight, engine, scope)).transpose()?;
                Ok((matcher.clone(), weight.unwrap_or(1)))
            });
            let matchers = matchers.collect::<Result<Vec<_>>>()?;
            let least = rates.iter().map(|rate| rate.requests).min();
            if let (Some(least), Some((_, weight))) = (least, matchers.iter().max_by_key(|(_, weight)| *weight))
                && *weight > least
            {
                let message = format!("a request counts for {weight} in an API budget that allows {least} at once");
                return Err(Error::new(ErrorKind::Invalid, message));
            }
            Ok(BoundPolicy { matchers, budget })
        });
        Ok(Budget {
            policies: policies.collect::<Result<_>>()?,
            hit_codes: self.hit_codes.clone(),
            reset: self.reset.clone(),
        })
    }
}

fn positive(template: &Template, engine: &Engine, scope: &Scope) -> Result<u32> {
    let text = template.text(engine, scope)?;
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
        Error::new(
            ErrorKind::Invalid,
            format!("a number of the API budget is `{text}`; it must be whole and above zero"),
        )
    })
}

impl Policy {
    fn load(view: &View<'_>) -> Take<Self> {
        let matchers: Vec<_> = view.children("matchers").iter().map(Matcher::load).collect();
        let matchers = matchers.into_iter().collect::<Take<_>>()?;
        let rates = match view.kind() {
            // The product's own windows begin when it likes; no window of that length, wherever it begins, sees more.
            "FixedWindowCallRatePolicy" => vec![(view.required_template("call_limit")?, window(view, "period")?)],
            "MovingWindowCallRatePolicy" => {
                let rates = view.children("rates");
                let rates = rates.iter().map(|rate| Ok((rate.required_template("limit")?, window(rate, "interval")?)));
                rates.collect::<Take<Vec<_>>>()?
            }
            "UnlimitedCallRatePolicy" => return Ok(Self { matchers, rates: Vec::new() }),
            _ => return Err(view.unsupported("call rate policy")),
        };
        if rates.is_empty() { Err(view.problem("`rates` must not be empty")) } else { Ok(Self { matchers, rates }) }
    }
}

fn window(view: &View<'_>, name: &str) -> Take<StdDuration> {
    let duration = Duration::parse(&view.required_text(name)?).map_err(|reason| view.problem(reason))?;
    match u64::try_from(duration.micros) {
        Ok(micros) if micros > 0 && duration.months == 0 => Ok(StdDuration::from_micros(micros)),
        _ => Err(view.problem(format!("`{name}` must be a length without months and years, above zero"))),
    }
}

impl Matcher {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        let path = match view.text("url_path_pattern")? {
            Some(pattern) => Some(expression(&pattern).map_err(|error| {
                view.problem(format!("the pattern `{pattern}` cannot be used (look-around is not supported): {error}"))
            })?),
            None => None,
        };
        let pairs = |name: &str| -> Take<Vec<(String, String)>> {
            let Some(node) = view.field(name) else { return Ok(Vec::new()) };
            let Data::Map(members) = &node.data else {
                return Err(view.problem(format!("`{name}` must be a mapping")));
            };
            let members = members.iter().filter(|(key, _)| &**key != "$parameters");
            let pair = |(key, value): &(std::sync::Arc<str>, std::sync::Arc<super::yaml::Node>)| {
                let text =
                    scalar_text(value).ok_or_else(|| view.problem(format!("`{key}` in `{name}` must be text")))?;
                Ok((key.to_string(), text.to_string()))
            };
            members.map(pair).collect()
        };
        Ok(Self {
            method: view.text("method")?.map(|method| method.to_uppercase()),
            base: view.text("url_base")?.map(|base| base.trim_end_matches('/').to_owned()),
            path,
            params: pairs("params")?,
            headers: pairs("headers")?,
            weight: view.template("weight")?,
        })
    }

    /// Whether `request` is of this kind.
    pub(crate) fn matches(&self, request: &Request) -> bool {
        let url = &request.url;
        let has_param = |(name, value): &(String, String)| {
            url.query_pairs()
                .filter(|(known, found)| known == name.as_str() && !found.is_empty())
                .last()
                .is_some_and(|(_, found)| found == value.as_str())
        };
        let has_header = |(name, value): &(String, String)| {
            request.headers.get(name).and_then(|found| found.to_str().ok()).is_some_and(|found| found == value)
        };
        self.method.as_deref().is_none_or(|method| method == request.method.as_str())
            && self.base.as_deref().is_none_or(|base| base == base_of(url))
            && self.path.as_ref().is_none_or(|pattern| pattern.is_match(url.path().trim_end_matches('/')))
            && self.params.iter().all(has_param)
            && self.headers.iter().all(has_header)
    }
}

/// Scheme, host and port as written.
fn base_of(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

/// What is left of the allowed requests; shared by all streams of a connector.
pub(crate) struct Budget {
    policies: Vec<BoundPolicy>,
    hit_codes: Vec<u16>,
    reset: HeaderName,
}

struct BoundPolicy {
    matchers: Vec<(Matcher, u32)>,
    budget: Option<RateBudget>,
}

impl Budget {
    /// The first policy that names `request`, and what the request counts for.
    fn policy(&self, request: &Request) -> Option<(&RateBudget, u32)> {
        let found = self.policies.iter().find_map(|policy| {
            if policy.matchers.is_empty() {
                return Some((policy, 1));
            }
            let matcher = policy.matchers.iter().find(|(matcher, _)| matcher.matches(request));
            matcher.map(|(_, weight)| (policy, *weight))
        });
        found.and_then(|(policy, weight)| Some((policy.budget.as_ref()?, weight)))
    }

    /// Waits until `request` may go out.
    ///
    /// # Errors
    /// `RateLimited` when the product asked for a long pause.
    pub(crate) async fn acquire(&self, request: &Request) -> Result<()> {
        let Some((budget, weight)) = self.policy(request) else { return Ok(()) };
        for _ in 0..weight {
            budget.acquire().await?;
        }
        Ok(())
    }

    /// Learns from the answer to `request`.
    pub(crate) fn observe(&self, request: &Request, response: &Response) {
        let Some((budget, _)) = self.policy(request) else { return };
        budget.observe(response.status, &response.headers);
        if self.hit_codes.contains(&response.status.as_u16()) {
            match until_reset(response, &self.reset) {
                Some(wait) => budget.pause(wait),
                None if response.headers.contains_key(RETRY_AFTER) => {}
                None => budget.pause_a_window(),
            }
        }
    }
}

/// How long until the instant in the header, which is in seconds since 1970, or a number of seconds.
fn until_reset(response: &Response, header: &HeaderName) -> Option<StdDuration> {
    const FIRST_INSTANT_S: f64 = 1e9;
    let reset: f64 = response.headers.get(header)?.to_str().ok()?.trim().parse().ok()?;
    let now_s = crate::clock::now().as_millisecond() as f64 / 1e3;
    StdDuration::try_from_secs_f64(if reset < FIRST_INSTANT_S { reset } else { reset - now_s }.max(0.0)).ok()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::manifest::{load::Loader, template::Scope};

    fn budget(text: &str) -> Budget {
        budget_of(text, &RateBudget::by_server_hints())
    }

    fn budget_of(text: &str, credential: &RateBudget) -> Budget {
        let (loader, root) = Loader::read("m.yaml", text).unwrap();
        let rates = CallRates::load(&loader.root(&root)).unwrap().unwrap();
        let (compiler, problems) = loader.into_parts();
        assert!(problems.is_empty(), "{problems:?}");
        let settings = super::super::template::values::from_json(&serde_json::json!({"rate": 2}));
        rates.bind(&compiler.finish(), &Scope::new(&settings), credential).unwrap()
    }

    fn get(url: &str) -> Request {
        Request::get(Url::parse(url).unwrap())
    }

    async fn seconds(budget: &Budget, url: &str, count: usize) -> f64 {
        let began = Instant::now();
        for _ in 0..count {
            budget.acquire(&get(url)).await.unwrap();
        }
        began.elapsed().as_secs_f64()
    }

    const TEXT: &str = r#"
api_budget:
  type: HTTPAPIBudget
  policies:
    - type: UnlimitedCallRatePolicy
      matchers: [{ method: get, url_path_pattern: "^/free" }]
    - type: MovingWindowCallRatePolicy
      rates: [{ limit: "{{ config['rate'] }}", interval: PT10S }]
      matchers: [{ url_path_pattern: "^/slow", params: { full: "true" } }, { url_path_pattern: "^/heavy", weight: 2 }]
    - type: FixedWindowCallRatePolicy
      call_limit: 1
      period: PT1M
      matchers: [{ url_base: "https://b.example" }]
"#;

    #[tokio::test(start_paused = true)]
    async fn each_request_waits_for_the_first_policy_that_names_it() {
        let budget = budget(TEXT);
        assert!(seconds(&budget, "https://a.example/free", 100).await < 0.1);
        assert!(seconds(&budget, "https://a.example/slow", 100).await < 0.1, "no policy names it");
        let slow = seconds(&budget, "https://a.example/slow?full=true", 5).await;
        assert!((20.0..31.0).contains(&slow), "two in any ten seconds: {slow}");
        let heavy = seconds(&budget, "https://a.example/heavy", 3).await;
        assert!((20.0..41.0).contains(&heavy), "each counts for two: {heavy}");
        let fixed = seconds(&budget, "https://b.example/x", 3).await;
        assert!((119.0..121.0).contains(&fixed), "one a minute: {fixed}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_product_says_is_left_counts() {
        let budget = budget(
            "api_budget: { type: HTTPAPIBudget, ratelimit_remaining_header: X-Left, ratelimit_reset_header: X-Reset, policies: [{ type: MovingWindowCallRatePolicy, rates: [{ limit: 1000, interval: PT1S }], matchers: [] }] }",
        );
        let request = get("https://a.example/x");
        let mut response = Response {
            status: crate::http::StatusCode::OK,
            headers: crate::http::HeaderMap::new(),
            body: bytes::Bytes::new(),
            url: request.url.clone(),
        };
        response.headers.insert("x-left", "0".parse().unwrap());
        response.headers.insert("x-reset", "30".parse().unwrap());
        budget.observe(&request, &response);
        let waited = seconds(&budget, "https://a.example/x", 1).await;
        assert!((29.9..31.0).contains(&waited), "{waited}");
    }

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> (Request, Response) {
        let request = get("https://a.example/x");
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let status = crate::http::StatusCode::from_u16(status).unwrap();
        let response =
            Response { status, headers: headers.collect(), body: bytes::Bytes::new(), url: request.url.clone() };
        (request, response)
    }

    const TWO_RATES: &str = "api_budget: { type: HTTPAPIBudget, ratelimit_remaining_header: X-Left, policies: [{ type: MovingWindowCallRatePolicy, rates: [{ limit: 10, interval: PT2S }, { limit: 100, interval: PT1M }], matchers: [] }] }";

    #[tokio::test(start_paused = true)]
    async fn what_the_product_does_not_say_follows_from_the_windows() {
        for (share, status, headers, waits_s) in [
            // Refused, and no word of when: the shortest window is over then.
            (1.0, 429, &[][..], 2.0),
            // Nothing is left: the longest window has to end.
            (1.0, 200, &[("x-left", "0")][..], 60.0),
            (1.0, 200, &[("x-left", "1")][..], 0.0),
            // Of a share of 60 % the last 40 are the others'.
            (0.6, 200, &[("x-left", "40")][..], 60.0),
            (0.6, 200, &[("x-left", "41")][..], 0.0),
            (1.0, 200, &[("x-left", "0"), ("ratelimit-reset", "7")][..], 7.0),
            (1.0, 429, &[("ratelimit-reset", "7")][..], 7.0),
            (1.0, 429, &[("retry-after", "9")][..], 9.0),
        ] {
            let credential = RateBudget::new(&[], share, QuotaHeaders::default()).unwrap();
            let budget = budget_of(TWO_RATES, &credential);
            let (request, response) = answer(status, headers);
            budget.observe(&request, &response);
            let waited = seconds(&budget, "https://a.example/x", 1).await;
            assert!((waits_s - 0.1..waits_s + 0.5).contains(&waited), "{share} {status} {headers:?}: {waited}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_shares_a_credential_shares_what_is_left_and_its_pauses() {
        let credential = RateBudget::by_server_hints();
        let [first, second] = [budget_of(TWO_RATES, &credential), budget_of(TWO_RATES, &credential)];
        let began = Instant::now();
        seconds(&first, "https://a.example/x", 10).await;
        seconds(&second, "https://a.example/x", 10).await;
        assert!(began.elapsed().as_secs_f64() > 3.0, "twenty of ten in two seconds: {:?}", began.elapsed());
        credential.pause(StdDuration::from_secs(30));
        assert!(seconds(&second, "https://a.example/x", 1).await > 29.0);
        let other = budget_of(TWO_RATES, &RateBudget::by_server_hints());
        assert!(seconds(&other, "https://a.example/x", 1).await < 0.1, "another credential is another budget");
    }
}
