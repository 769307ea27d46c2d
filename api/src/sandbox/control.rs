//! The switches under `/_sandbox`: change the data, ask for the truth, order faults, read the counters.

use std::collections::BTreeMap;

use actix_web::{
    HttpResponse,
    http::Method,
    web::{Data, Json, Path},
};
use bytes::Bytes;
use futures::stream;
use serde::{Deserialize, Serialize};

use super::{Shared, fault::FaultOrder, gate::refusal, held, oauth::OAuthClient, record::Stream, world::Mutation};

/// What the sandbox has seen since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Requests by path, ids replaced by `{id}`.
    pub requests: BTreeMap<String, u64>,
    /// Records made, changed and deleted, by method and path; ids replaced by `{id}`.
    #[serde(default)]
    pub writes: BTreeMap<String, u64>,
    /// Records asked for again with the same idempotency key, and not made again.
    #[serde(default)]
    pub repeated_writes: u64,
    /// Requests refused for their credential.
    pub unauthorised: u64,
    /// Requests over the rate limit.
    pub rate_limited: u64,
    /// Tokens given for codes and refresh tokens.
    pub tokens_issued: u64,
    /// Codes and refresh tokens refused.
    pub tokens_refused: u64,
}

impl Stats {
    pub(super) fn count(&mut self, path: &str) {
        *self.requests.entry(without_ids(path)).or_default() += 1;
    }

    pub(super) fn count_write(&mut self, method: &Method, path: &str) {
        *self.writes.entry(format!("{method} {}", without_ids(path))).or_default() += 1;
    }
}

fn without_ids(path: &str) -> String {
    let is_id = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    path.split('/').map(|part| if is_id(part) { "{id}" } else { part }).collect::<Vec<_>>().join("/")
}

/// `POST /_sandbox/mutate`: what moved, id by id.
pub async fn mutate(shared: Data<Shared>, mutation: Json<Mutation>) -> HttpResponse {
    HttpResponse::Ok().json(shared.world().mutate(&mutation))
}

/// `GET /_sandbox/truth/{stream}`: every live record, one a line, byte for byte as the data routes give it.
pub async fn truth(shared: Data<Shared>, stream: Path<String>) -> HttpResponse {
    const ROWS_A_CHUNK: usize = 1000;
    let Some(stream) = Stream::named(&stream) else {
        return refusal(404, "there is no such stream");
    };
    let chunks = stream::unfold(1, move |first_id| {
        let shared = shared.clone();
        async move {
            let world = shared.world();
            let rows = world.table(stream).live_from(first_id, ROWS_A_CHUNK);
            let last = rows.last()?.id;
            let mut lines = String::with_capacity(rows.len() * 1200);
            for row in &rows {
                world.write(&mut lines, stream, row);
                lines.push('\n');
            }
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(lines)), last + 1))
        }
    });
    HttpResponse::Ok().content_type("application/x-ndjson").streaming(chunks)
}

/// `POST /_sandbox/faults`.
pub async fn arm_fault(shared: Data<Shared>, order: Json<FaultOrder>) -> HttpResponse {
    held(&shared.faults).arm(order.into_inner());
    HttpResponse::NoContent().finish()
}

/// `DELETE /_sandbox/faults`.
pub async fn clear_faults(shared: Data<Shared>) -> HttpResponse {
    held(&shared.faults).clear();
    HttpResponse::NoContent().finish()
}

/// `DELETE /_sandbox/grants`: every sign-in ends, as when a person revokes the app.
pub async fn revoke_grants(shared: Data<Shared>) -> HttpResponse {
    shared.oauth().revoke_all();
    HttpResponse::NoContent().finish()
}

/// `DELETE /_sandbox/access_tokens`: every access token ends; refresh tokens go on.
pub async fn expire_access_tokens(shared: Data<Shared>) -> HttpResponse {
    shared.oauth().expire_access_tokens();
    HttpResponse::NoContent().finish()
}

/// `PUT /_sandbox/client`: the OAuth client has another secret from now on, or is another one.
pub async fn set_client(shared: Data<Shared>, client: Json<OAuthClient>) -> HttpResponse {
    *held(&shared.client) = client.into_inner();
    HttpResponse::NoContent().finish()
}

/// `GET /_sandbox/stats`.
pub async fn stats(shared: Data<Shared>) -> HttpResponse {
    HttpResponse::Ok().json(&*shared.stats())
}
