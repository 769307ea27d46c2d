//! Verifying a snapshot over the API: within one request as far as its limits let it, and on from there in the next.

use std::time::Duration;

use actix_web::web::{Data, Json, Path};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use listbackup_engine::{
    Error, ErrorKind,
    model::{ActivityKind, SnapshotId, SourceId},
    run::event::Subject,
    snapshot::{self, VerifyLevel, VerifyLimits, VerifyPosition, VerifyReport},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{Answer, snapshots};
use crate::{
    body::Body,
    caller::Caller,
    changes::{commit, told},
    problem::Problem,
    schemas,
    state::AppState,
};

/// Bytes that one request reads unless it says otherwise.
const BYTES_DEFAULT: u64 = 256 << 20;
/// Seconds that one request takes unless it says otherwise.
const SECONDS_DEFAULT: u64 = 20;

/// What to verify, and how far in this request.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVerification {
    /// `structure`: the chain of manifests, and that every segment is there with its size. `data`: every stored byte, too.
    #[serde(default)]
    #[schema(required = false)]
    level: Level,
    /// Bytes to read at most; one segment is read in any case.
    #[schema(minimum = 1, maximum = 4_294_967_296_u64, default = 268_435_456)]
    max_bytes: Option<u64>,
    /// Seconds to take at most.
    #[schema(minimum = 1, maximum = 120, default = 20)]
    max_seconds: Option<u64>,
    /// `position` of the answer before, to go on from there.
    #[schema(max_length = 20_000)]
    position: Option<String>,
}

/// How thoroughly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// What names what.
    Structure,
    /// Every byte.
    #[default]
    Data,
}

/// What was found.
#[derive(Serialize, ToSchema)]
pub struct VerificationView {
    /// True when no damage was found, by this request and those before it.
    sound: bool,
    /// True when everything was looked at. Else send `position` with the next request.
    complete: bool,
    /// Where the next request goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    /// Snapshots whose place in the chain was proved, this one included.
    snapshots: u64,
    /// Forgotten snapshots whose tombstone closes the gap in the chain.
    forgotten: u64,
    /// Records read by this request.
    records: u64,
    /// Attachments looked at by this request.
    attachments: u64,
    /// Packs with attachments of only older snapshots looked at by this request.
    older_packs: u64,
    /// Bytes read by this request.
    bytes_read: u64,
    /// How much was covered, by this request and those before it.
    covered: CoverageView,
    /// What this request found damaged; those before it told theirs.
    damages: Vec<DamageView>,
}

/// How much was covered.
#[derive(Serialize, ToSchema)]
pub struct CoverageView {
    /// Segments that were read whole.
    segments: u64,
    /// Segments of this snapshot and those before it.
    segments_total: u64,
    /// Bytes of those that were read.
    bytes: u64,
    /// Bytes of all of them.
    bytes_total: u64,
    /// Streams of this snapshot whose content was counted and whose digest was computed again.
    streams: u64,
    /// Streams of this snapshot.
    streams_total: u64,
}

/// A damaged object and what it touches.
#[derive(Serialize, ToSchema)]
pub struct DamageView {
    /// The object.
    path: String,
    /// What is wrong with it.
    what: String,
    /// The stream whose records it touches.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<String>,
    /// Snapshots that use the object.
    #[schema(value_type = Vec<schemas::SnapshotId>)]
    snapshots: Vec<SnapshotId>,
    /// The least key that can be touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_key: Option<String>,
    /// The greatest key that can be touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_key: Option<String>,
}

/// Verifies a snapshot and those before it. One request does a bounded part; send again with the answer's `position` until
/// `complete`. Damage is an answer, not an error.
#[utoipa::path(post, path = "/data/snapshots/{id}/verify",
    params(("id" = String, Path, description = "The snapshot's id.")), request_body = NewVerification,
    responses((status = 200, description = "What was found.", body = VerificationView)))]
pub async fn verify(
    state: Data<AppState>,
    caller: Caller,
    id: Path<SnapshotId>,
    body: Body<NewVerification>,
) -> Answer<VerificationView> {
    let NewVerification { level, max_bytes, max_seconds, position } = body.value;
    let misplaced = |detail: &str| Problem::invalid_field("/position", detail);
    let position = position.as_deref().map(decode).transpose().map_err(|()| misplaced("is not a position"))?;
    let snapshots::Found { loaded, reader } = snapshots::find(&state, &caller, *id).await?;
    let source_id = loaded.manifest.source_id;
    let report = match level {
        Level::Structure if position.is_some() => return Err(misplaced("only `data` goes on from a position")),
        Level::Structure => reader.verify(VerifyLevel::Structure).await?,
        Level::Data => {
            let time = Duration::from_secs(max_seconds.unwrap_or(SECONDS_DEFAULT));
            let clock = &*state.ports.clock;
            let end = clock.now().saturating_add(time).map_err(|_| misplaced("the clock stands at its end"))?;
            let limits =
                VerifyLimits { bytes_max: Some(max_bytes.unwrap_or(BYTES_DEFAULT)), deadline: Some((clock, end)) };
            reader.verify_within(&limits, position.as_ref()).await.map_err(|error| match error.kind() {
                ErrorKind::Invalid => misplaced(error.message()),
                _ => Problem::from(error),
            })?
        }
    };
    if report.is_complete() || !report.is_sound() {
        tell(&state, &caller, *id, source_id, level, &report).await?;
    }
    Ok(Json(VerificationView::of(report)?))
}

/// A verification is told when it has come to its end, and whenever it finds damage.
async fn tell(
    state: &AppState,
    caller: &Caller,
    snapshot_id: SnapshotId,
    source_id: SourceId,
    level: Level,
    report: &VerifyReport,
) -> Result<(), Error> {
    let details = [
        ("snapshotId", json!(snapshot_id)),
        ("level", json!(if level == Level::Data { "data" } else { "structure" })),
        ("sound", json!(report.is_sound())),
        ("complete", json!(report.is_complete())),
        ("damages", json!(report.damages.len())),
    ];
    let told = told(state, caller, ActivityKind::SnapshotVerified, Subject::source(source_id), details);
    commit(state, caller.scope(), Vec::new(), told).await
}

fn decode(text: &str) -> Result<VerifyPosition, ()> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(drop)?;
    serde_json::from_slice(&bytes).map_err(drop)
}

fn encode(position: &VerifyPosition) -> Result<String, Error> {
    let text = serde_json::to_vec(position)
        .map_err(|error| Error::new(ErrorKind::Bug, format!("a position does not serialise: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(text))
}

impl VerificationView {
    fn of(report: VerifyReport) -> Result<Self, Error> {
        let covered = report.covered;
        Ok(Self {
            sound: report.is_sound(),
            complete: report.is_complete(),
            position: report.next.as_ref().map(encode).transpose()?,
            snapshots: report.manifests,
            forgotten: report.forgotten,
            records: report.records,
            attachments: report.attachments,
            older_packs: report.older_packs,
            bytes_read: report.bytes_read,
            covered: CoverageView {
                segments: covered.segments,
                segments_total: covered.segments_total,
                bytes: covered.bytes,
                bytes_total: covered.bytes_total,
                streams: covered.streams,
                streams_total: covered.streams_total,
            },
            damages: report.damages.into_iter().map(DamageView::of).collect(),
        })
    }
}

impl DamageView {
    fn of(damage: snapshot::Damage) -> Self {
        let (first_key, last_key) = damage.keys.map(|(first, last)| (first.to_string(), last.to_string())).unzip();
        Self {
            path: damage.path,
            what: damage.what,
            stream: damage.stream,
            snapshots: damage.snapshots,
            first_key,
            last_key,
        }
    }
}
