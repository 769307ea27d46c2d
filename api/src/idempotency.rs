//! `Idempotency-Key` on requests that make something: the key stands for the id of the thing to be made.
//!
//! The first request with a key writes down, durably and before anything else, which id it will use. A repeat finds
//! that id, so it either finds the thing made, or makes the very same one where the first request broke off. Two
//! requests at once agree on one id too, and the row's own put-if-absent lets one of them make it.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::StatusCode};
use aws_lc_rs::digest::{SHA256, digest};
use jiff::SignedDuration;
use listbackup_engine::{
    ErrorKind,
    model::{AccountId, Id, id::IdKind},
    ports::Condition,
    store::{key1, put},
    tables::{OAUTH_STATES, Row, TableSchema},
};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams,
    openapi::{
        ObjectBuilder, Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::{SchemaType, Type},
    },
};

use crate::{
    caller::{Caller, hex},
    problem::Problem,
    state::AppState,
};

/// How long a key is remembered.
const LIFE: SignedDuration = SignedDuration::from_hours(24);
/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 255;

/// The `Idempotency-Key` header of a request, if it has one.
#[derive(Clone, Debug)]
pub struct IdempotencyKey(pub Option<String>);

impl FromRequest for IdempotencyKey {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let Some(value) = request.headers().get("idempotency-key") else { return ready(Ok(Self(None))) };
        let is_visible = |text: &&str| text.bytes().all(|byte| byte.is_ascii_graphic());
        let text = value.to_str().ok().filter(|text| (1..=KEY_BYTES_MAX).contains(&text.len())).filter(is_visible);
        ready(text.map(|text| Self(Some(text.to_owned()))).ok_or_else(|| {
            let detail = format!("the Idempotency-Key must have 1 to {KEY_BYTES_MAX} visible ASCII characters");
            Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
        }))
    }
}

impl IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let form = format!("^[!-~]{{1,{KEY_BYTES_MAX}}}$");
        let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).pattern(Some(form));
        let key = ParameterBuilder::new().name("Idempotency-Key").parameter_in(ParameterIn::Header);
        let about = "Stands for this request for a day: sent again with the same body, nothing is made twice.";
        vec![key.required(Required::False).description(Some(about)).schema(Some(text)).build()]
    }
}

/// Which id a key stands for. Lives among the other short-lived rows, apart from them by its prefix.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    state_hash: String,
    account_id: AccountId,
    request_digest: String,
    made_id: String,
    expires_at: i64,
}

impl Row for Claim {
    const TABLE: &'static TableSchema = &OAUTH_STATES;
}

impl IdempotencyKey {
    /// The id for the thing that this request makes: a new one, or the one that the key stands for already.
    ///
    /// # Errors
    /// 422 when the key came before with another body; 503 when the store cannot be reached.
    pub async fn id<K: IdKind>(
        &self,
        state: &AppState,
        caller: &Caller,
        body_digest: &[u8; 32],
    ) -> Result<Id<K>, Problem> {
        let fresh: Id<K> = state.new_id();
        let Some(text) = &self.0 else { return Ok(fresh) };
        let claim = claim(state, caller, K::PREFIX, text, body_digest, fresh.to_string());
        match state.store.transact(&state.system, vec![put(&claim, Condition::Absent)?]).await {
            Ok(()) => Ok(fresh),
            Err(error) if error.kind() == ErrorKind::Conflict => earlier(state, &claim).await,
            Err(error) => Err(error.into()),
        }
    }
}

fn claim(state: &AppState, caller: &Caller, kind: &str, text: &str, body_digest: &[u8; 32], made_id: String) -> Claim {
    let account_id = caller.account_id();
    let name = format!("{account_id}\n{kind}\n{text}");
    // Salted with the key: the body may hold secrets that could be guessed from its bare digest.
    let salted = [name.as_bytes(), body_digest].concat();
    Claim {
        state_hash: format!("idempotency-{}", hex(digest(&SHA256, name.as_bytes()).as_ref())),
        account_id,
        request_digest: hex(digest(&SHA256, &salted).as_ref()),
        made_id,
        expires_at: (state.now() + LIFE).as_second(),
    }
}

async fn earlier<K: IdKind>(state: &AppState, claim: &Claim) -> Result<Id<K>, Problem> {
    let found = state.store.get::<Claim>(&state.system, key1(&claim.state_hash)).await?.row;
    if found.request_digest != claim.request_digest {
        let detail = "this Idempotency-Key came before with another body; use a new key for a new request";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused", detail));
    }
    Ok(found.made_id.parse()?)
}
