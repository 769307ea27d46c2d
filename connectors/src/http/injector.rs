//! Watches the exchanges of a connector and spoils some of their answers: what the conformance run sees with.

use std::{
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{HeaderMap, HeaderValue, Request, Response, StatusCode, wire::answer_of};

/// Bodies of answers that are kept for looking at, and the longest of them.
const BODIES_MAX: usize = 64;
const BODY_MAX_BYTES: usize = 4 << 20;
/// A body that no product sends and no reader may hold.
pub const HUGE_BYTES: u64 = 1 << 30;
/// Headers whose values never go to another origin, marked as secret or not.
const GUARDED_HEADERS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];
/// A shorter secret may stand in a header by chance.
const SECRET_MIN_BYTES: usize = 6;

/// How an answer is spoilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Another status with a body that echoes the person's secrets, once; the product is not asked.
    Status {
        /// The status.
        status: u16,
        /// `Retry-After`, in seconds.
        retry_after_s: Option<u64>,
    },
    /// Half of the body, then the connection breaks off; once.
    Cut,
    /// A page for people with status 200; once.
    NotJson,
    /// A body of no bytes with status 200; once.
    NoBody,
    /// Status 200 and a JSON object that tells an error; every time.
    ErrorBody,
    /// A JSON body of [`HUGE_BYTES`]; every time.
    Huge,
    /// From this answer on always this answer, with its link to the next page.
    SameForEver,
    /// From this answer on always this answer without its records, with its link to the next page.
    EmptyForEver,
    /// The first record after the last; once.
    Late,
    /// The first record once more, after the last; once.
    Repeated,
    /// A field in every record that no schema knows; once.
    Drift,
}

impl Fault {
    fn is_lasting(&self) -> bool {
        matches!(self, Self::ErrorBody | Self::Huge | Self::SameForEver | Self::EmptyForEver)
    }
}

/// One exchange that was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method and address without query.
    pub place: String,
    /// A hash of method and whole address, to know the same request again.
    pub identity: u64,
    /// When it was asked.
    pub asked_at: Instant,
    /// The answer's text; `None` when it was not kept.
    pub body: Option<Bytes>,
}

/// Watches, and spoils answers at one place.
pub struct Injector {
    fault: Option<(String, Fault)>,
    secrets: Vec<String>,
    state: Mutex<State>,
    huge_bytes_read: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    struck: u64,
    struck_at: Option<(Instant, u64)>,
    /// What is answered for ever.
    stuck: Option<Response>,
    loose_headers: Vec<String>,
    guarded: Vec<String>,
    /// A request that the recording does not hold.
    unrecorded: Option<String>,
}

impl Injector {
    /// Watches; `fault` strikes at a place as [`Seen::place`] names it. `secrets` are those of the settings.
    pub fn new(fault: Option<(String, Fault)>, secrets: Vec<String>) -> Arc<Self> {
        let huge_bytes_read = Arc::default();
        Arc::new(Self { fault, secrets, state: Mutex::default(), huge_bytes_read })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every exchange so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// How often the fault struck.
    pub fn struck(&self) -> u64 {
        self.state().struck
    }

    /// How long after the first strike the same request was sent again.
    pub fn asked_again_after(&self) -> Option<Duration> {
        let state = self.state();
        let (struck_at, identity) = state.struck_at?;
        let again = state.seen.iter().find(|seen| seen.identity == identity && seen.asked_at > struck_at)?;
        Some(again.asked_at.duration_since(struck_at))
    }

    /// Bytes that were taken of a body of [`HUGE_BYTES`].
    pub fn huge_bytes_read(&self) -> u64 {
        self.huge_bytes_read.load(Ordering::Relaxed)
    }

    /// Headers that held a secret and may be carried to other origins.
    pub fn loose_headers(&self) -> Vec<String> {
        self.state().loose_headers.clone()
    }

    /// The values of headers that are guarded as secret.
    pub fn guarded(&self) -> Vec<String> {
        self.state().guarded.clone()
    }

    /// A request that the recording has no answer to: what comes of it says nothing of the connector.
    pub fn unrecorded(&self) -> Option<String> {
        self.state().unrecorded.clone()
    }

    /// Notes such a request.
    pub(super) fn note_unrecorded(&self, request: &Request) {
        self.state().unrecorded.get_or_insert_with(|| place(request));
    }

    /// Notes a request; an answer, where a fault needs no product.
    pub(super) fn before(&self, request: &Request) -> Option<reqwest::Response> {
        let place = place(request);
        let mut state = self.state();
        self.note_headers(&mut state, &request.headers);
        let identity =
            BuildHasherDefault::<DefaultHasher>::default().hash_one((&place, request.url.query(), &request.body));
        state.seen.push(Seen { place: place.clone(), identity, asked_at: Instant::now(), body: None });
        let (at, fault) = self.fault.as_ref()?;
        let strikes = *at == place && (fault.is_lasting() || state.struck == 0);
        let answer = if !strikes { None } else { self.made(fault, &state) };
        if answer.is_some() {
            state.struck += 1;
            state.struck_at.get_or_insert_with(|| (Instant::now(), identity));
        }
        answer
    }

    fn note_headers(&self, state: &mut State, headers: &HeaderMap) {
        for (name, value) in headers {
            let text = value.to_str().unwrap_or_default();
            let is_guarded = value.is_sensitive() || GUARDED_HEADERS.contains(&name.as_str());
            let holds_secret =
                self.secrets.iter().any(|secret| secret.len() >= SECRET_MIN_BYTES && text.contains(secret.as_str()));
            if is_guarded && !state.guarded.iter().any(|held| held == text) {
                state.guarded.push(text.to_owned());
            }
            if holds_secret && !is_guarded && !state.loose_headers.contains(&name.to_string()) {
                state.loose_headers.push(name.to_string());
            }
        }
    }

    /// The answer of a fault that does not build on the product's.
    fn made(&self, fault: &Fault, state: &State) -> Option<reqwest::Response> {
        let json =
            HeaderMap::from_iter([(reqwest::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        Some(match fault {
            Fault::Status { status, retry_after_s } => {
                let mut headers = json;
                if let Some(seconds) = retry_after_s {
                    headers.insert(reqwest::header::RETRY_AFTER, HeaderValue::from(*seconds));
                }
                let message = format!("refused for trial: {}", self.secrets.join(" "));
                let body = json!({ "error": { "message": message }, "message": message }).to_string();
                answer_of(StatusCode::from_u16(*status).ok()?, &headers, body)
            }
            Fault::NotJson => {
                answer_of(StatusCode::OK, &HeaderMap::new(), "<html><body>Down for maintenance</body></html>")
            }
            Fault::NoBody => answer_of(StatusCode::OK, &json, ""),
            Fault::ErrorBody => {
                let body = json!({ "error": { "code": 17, "message": "something went wrong" } }).to_string();
                answer_of(StatusCode::OK, &json, body)
            }
            Fault::Huge => answer_of(StatusCode::OK, &json, self.huge()),
            Fault::SameForEver | Fault::EmptyForEver => {
                let stuck = state.stuck.as_ref()?;
                answer_of(stuck.status, &stuck.headers, stuck.body.clone())
            }
            Fault::Cut | Fault::Late | Fault::Repeated | Fault::Drift => return None,
        })
    }

    /// A list that goes on and on.
    fn huge(&self) -> reqwest::Body {
        const PIECE: &[u8; 65_536] = &{
            let mut piece = [b' '; 65_536];
            piece[0] = b'[';
            piece
        };
        let read = Arc::clone(&self.huge_bytes_read);
        let pieces = stream::iter(0..HUGE_BYTES / PIECE.len() as u64).map(move |index| {
            read.fetch_add(PIECE.len() as u64, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from_static(if index == 0 { PIECE } else { &PIECE[1..] }))
        });
        reqwest::Body::wrap_stream(pieces)
    }

    /// The product's answer as it goes on.
    pub(super) fn after(&self, request: &Request, mut answer: Response) -> reqwest::Response {
        let place = place(request);
        let mut state = self.state();
        let kept = state.seen.iter().filter(|seen| seen.body.is_some()).count();
        if kept < BODIES_MAX
            && answer.body.len() <= BODY_MAX_BYTES
            && let Some(seen) = state.seen.iter_mut().rev().find(|seen| seen.place == place && seen.body.is_none())
        {
            seen.body = Some(answer.body.clone());
        }
        let fault =
            self.fault.as_ref().filter(|(at, _)| *at == place && state.struck == 0 && answer.status.is_success());
        let Some((_, fault)) = fault else { return answer_of(answer.status, &answer.headers, answer.body) };
        let spoilt = match fault {
            Fault::Cut => {
                state.struck += 1;
                let half = answer.body.slice(..answer.body.len() / 2);
                let broken = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "broken off for trial");
                let body = reqwest::Body::wrap_stream(stream::iter([Ok(half), Err(broken)]));
                return answer_of(answer.status, &answer.headers, body);
            }
            Fault::SameForEver => Some(answer.body.clone()),
            Fault::EmptyForEver => changed(&answer.body, &|records| records.clear()),
            Fault::Late => changed(&answer.body, &|records| records.rotate_left(1)),
            Fault::Repeated => changed(&answer.body, &|records| records.extend(records.first().cloned())),
            Fault::Drift => changed(&answer.body, &|records| {
                for record in records.iter_mut().filter_map(Value::as_object_mut) {
                    record.insert(DRIFTED.to_owned(), json!([1, { "new": true }]));
                }
            }),
            _ => None,
        };
        if let Some(body) = spoilt {
            state.struck += 1;
            answer.body = body;
            state.stuck = fault.is_lasting().then(|| answer.clone());
        }
        answer_of(answer.status, &answer.headers, answer.body)
    }
}

/// The field that [`Fault::Drift`] adds.
pub const DRIFTED: &str = "x_field_of_tomorrow";

/// Method and address without query.
fn place(request: &Request) -> String {
    let mut url = request.url.clone();
    url.set_query(None);
    url.set_fragment(None);
    format!("{} {url}", request.method)
}

/// `body` with its longest list of objects changed; `None` when it has none.
fn changed(body: &Bytes, change: &dyn Fn(&mut Vec<Value>)) -> Option<Bytes> {
    let mut json: Value = serde_json::from_slice(body).ok()?;
    let longest = lists(&json).into_iter().max_by_key(|(length, _)| *length)?.1;
    let list = json.pointer_mut(&longest)?.as_array_mut()?;
    change(list);
    Some(json.to_string().into())
}

/// Every list of objects that is not inside of another list: how long it is, and where.
fn lists(json: &Value) -> Vec<(usize, String)> {
    match json {
        Value::Array(items) if items.first().is_some_and(Value::is_object) => vec![(items.len(), String::new())],
        Value::Object(members) => {
            let inner = |(name, value): (&String, &Value)| {
                let step = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
                lists(value)
                    .into_iter()
                    .map(move |(length, path)| (length, format!("{step}{path}")))
                    .collect::<Vec<_>>()
            };
            members.iter().flat_map(inner).collect()
        }
        _ => Vec::new(),
    }
}
