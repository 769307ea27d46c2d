//! `x-listbackup: {write: …}`: how a stream's records are written back. Our own addition to the language; the requests are
//! built, signed, sent and tried again as those that read.

use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    json::Slice,
    load::{Take, View},
    request::{
        options::Injections,
        outcome::{Action, Resolution, error_text},
        requester::{Call, Requester, Sent},
    },
    session::Session,
    stream::Stream,
    template::{Python, values::Lazy},
};
use crate::{
    Error, ErrorKind, Reference, Result, WriteAction, WriteRequest, WriteSpec, WrittenRecord,
    http::{Response, redact_url},
};

/// How the records of a stream are written.
#[derive(Debug)]
pub(crate) struct Writing {
    read_only: Vec<Vec<String>>,
    references: Vec<Reference>,
    natural_key: Vec<Vec<String>>,
    read_one: Operation,
    create: Option<Operation>,
    update: Option<Operation>,
}

/// One kind of request, with one record in its answer.
#[derive(Debug)]
struct Operation {
    requester: Requester,
    /// Where the record stands in the answer.
    record_path: Vec<String>,
    /// The header that carries the idempotency key.
    idempotency_header: Option<String>,
}

/// What `write` says beside its requests.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    #[serde(default)]
    read_only: Vec<Field>,
    #[serde(default)]
    references: Vec<DescribedReference>,
    #[serde(default)]
    natural_key: Vec<Field>,
    #[serde(rename = "read_one")]
    _read_one: IgnoredAny,
    #[serde(rename = "create")]
    _create: Option<IgnoredAny>,
    #[serde(rename = "update")]
    _update: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DescribedReference {
    field: Field,
    stream: String,
}

/// A name, or the path to a nested member.
#[derive(Deserialize)]
#[serde(untagged)]
enum Field {
    Name(String),
    Path(Vec<String>),
}

impl From<Field> for Vec<String> {
    fn from(field: Field) -> Self {
        match field {
            Field::Name(name) => vec![name],
            Field::Path(path) => path,
        }
    }
}

impl Writing {
    /// Reads the part of a stream's own additions; `None` for a stream that can only be read.
    pub(crate) fn load(stream: &View<'_>, is_transformed: bool) -> Take<Option<Self>> {
        let Some(view) = stream.child("x-listbackup").and_then(|own| own.child("write")) else { return Ok(None) };
        if is_transformed {
            return Err(
                view.problem("a stream with `transformations` cannot be written: its records are not the product's")
            );
        }
        if stream.field("primary_key").is_none_or(|key| key.is_falsy()) {
            return Err(
                view.problem("a stream without `primary_key` cannot be written: its records cannot be found again")
            );
        }
        let described: Described = serde_json::from_value(view.node().to_json())
            .map_err(|error| view.problem(format!("`x-listbackup.write` cannot be used: {error}")))?;
        let (read_one, create, update) =
            (Operation::load(&view, "read_one"), Operation::load(&view, "create"), Operation::load(&view, "update"));
        let read_one = read_one?.ok_or_else(|| view.problem("`x-listbackup.write` needs `read_one`"))?;
        let create = create?;
        if create.as_ref().is_some_and(|create| create.idempotency_header.is_none()) {
            return Err(view.problem(
                "`create` needs `idempotency_header`: without it, a request that is sent again makes a second record",
            ));
        }
        let references = described.references.into_iter();
        let read_only: Vec<Vec<String>> = described.read_only.into_iter().map(Vec::from).collect();
        let natural_key: Vec<Vec<String>> = described.natural_key.into_iter().map(Vec::from).collect();
        if let Some(field) = natural_key.iter().find(|field| read_only.iter().any(|own| field.starts_with(own))) {
            let message = "is read-only and cannot be in `natural_key`: the product sets it, so it finds nothing";
            return Err(view.problem(format!("`{}` {message}", field.join("."))));
        }
        Ok(Some(Self {
            read_only,
            natural_key,
            references: references
                .map(|reference| Reference { field: reference.field.into(), stream: reference.stream })
                .collect(),
            read_one,
            create,
            update: update?,
        }))
    }

    /// What the catalog says of it.
    pub(crate) fn describe(&self) -> WriteSpec {
        WriteSpec {
            can_create: self.create.is_some(),
            can_update: self.update.is_some(),
            read_only: self.read_only.clone(),
            references: self.references.clone(),
            natural_key: self.natural_key.clone(),
        }
    }

    /// The record with this key, as it is now.
    ///
    /// # Errors
    /// As for requests; `BadAnswer` when the answer holds no record.
    pub(crate) async fn read_one(&self, session: &Session, stream: &Stream, key: &[String]) -> Result<Option<Bytes>> {
        let record = record_of(&stream.primary_key, key, b"{}")?;
        let call = Call { record: Some(Lazy::value(&record, 0..record.len())), ..Call::default() };
        let response = match self.read_one.requester.send(session, &call).await {
            Ok(Sent::Answer(response)) => *response,
            Ok(Sent::Ignored(_)) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let found = self.read_one.record(&response)?;
        let is_deleted = stream
            .deletion_path()
            .and_then(|path| found.at(&path))
            .is_some_and(|mark| !mark.is_null() && mark.text() != "false");
        Ok((!is_deleted).then(|| Bytes::copy_from_slice(found.text().as_bytes())))
    }

    /// Makes or changes a record.
    ///
    /// # Errors
    /// As for requests; `BadAnswer` when the answer does not hold the record's key.
    pub(crate) async fn write(
        &self,
        session: &Session,
        stream: &Stream,
        request: &WriteRequest,
    ) -> Result<WrittenRecord> {
        let (operation, record) = match &request.action {
            WriteAction::Create => (self.create.as_ref(), request.body.clone()),
            WriteAction::Update { key } => (self.update.as_ref(), record_of(&stream.primary_key, key, &request.body)?),
        };
        let operation = operation.ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "the manifest does not say how records of this stream are written")
        })?;
        let mut injections = Injections::default();
        if let Some(header) = &operation.idempotency_header {
            injections.headers.set(std::slice::from_ref(header), Python::Text(request.idempotency_key.clone()));
        }
        let call = Call {
            record: Some(Lazy::value(&record, 0..record.len())),
            body: Some(request.body.clone()),
            injections,
            ..Call::default()
        };
        let response = match operation.requester.send(session, &call).await? {
            Sent::Answer(response) => *response,
            Sent::Ignored(status) => {
                let message = format!("the product refused the record (HTTP {})", status.as_u16());
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        };
        if let WriteAction::Update { key } = &request.action {
            return Ok(WrittenRecord { key: key.clone() });
        }
        let written = operation.record(&response)?;
        let key = stream.primary_key.iter().map(|path| {
            let value = written.at(path).filter(|value| !value.is_null());
            value.map(|value| value.text().to_owned()).ok_or_else(|| no_record(&response))
        });
        Ok(WrittenRecord { key: key.collect::<Result<_>>()? })
    }
}

impl Operation {
    fn load(write: &View<'_>, name: &str) -> Take<Option<Self>> {
        let Some(view) = write.child(name) else { return Ok(None) };
        let requester = view.child("requester").ok_or_else(|| view.problem(format!("`{name}` needs a `requester`")))?;
        Ok(Some(Self {
            requester: Requester::load(&requester)?,
            record_path: view.texts("record_path")?.unwrap_or_default(),
            idempotency_header: view.text("idempotency_header")?,
        }))
    }

    fn record<'a>(&self, response: &'a Response) -> Result<Slice<'a>> {
        let text = std::str::from_utf8(&response.body).ok();
        let answer = text.and_then(|text| Slice::parse(text).ok());
        let record = answer.and_then(|answer| answer.at(&self.record_path)).filter(|record| record.is_object());
        record.ok_or_else(|| no_record(response))
    }
}

/// The longest message of a product that is passed on.
const MESSAGE_CHARS_MAX: usize = 300;

/// The rule for the answer to a write: what the product refuses as wrong stays wrong, and its own words say why.
pub(crate) fn resolved(mut resolution: Resolution, response: &Response) -> Resolution {
    let is_refusal = matches!(response.status.as_u16(), 400..=407 | 409..=499);
    if is_refusal && resolution.is_default && resolution.action == Action::Retry {
        resolution.action = Action::Fail;
    }
    if is_refusal && resolution.action == Action::Fail && resolution.message.is_none() {
        let told = error_text(response).filter(|text| !text.is_empty());
        resolution.message = told.map(|text| text.chars().take(MESSAGE_CHARS_MAX).collect());
    }
    resolution
}

fn no_record(response: &Response) -> Error {
    Error::new(ErrorKind::BadAnswer, "the answer to a write does not hold the record where the manifest says")
        .with("url", redact_url(&response.url))
}

/// A record's key and further fields as one JSON object, for the templates of a request.
fn record_of(primary_key: &[Vec<String>], key: &[String], body: &[u8]) -> Result<Bytes> {
    let wrong = || Error::new(ErrorKind::Invalid, "a key does not have the fields of the stream's primary key");
    if key.len() != primary_key.len() {
        return Err(wrong());
    }
    let mut record: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(body).map_err(|_| Error::new(ErrorKind::Bug, "a record to write is no JSON object"))?;
    for (path, text) in primary_key.iter().zip(key) {
        let value: serde_json::Value = serde_json::from_str(text).map_err(|_| wrong())?;
        let (last, parents) = path.split_last().ok_or_else(wrong)?;
        let mut place = &mut record;
        for name in parents {
            let inner = place.entry(name.clone()).or_insert_with(|| serde_json::Value::Object(Default::default()));
            place = inner.as_object_mut().ok_or_else(wrong)?;
        }
        place.insert(last.clone(), value);
    }
    serde_json::to_vec(&record).map(Bytes::from).map_err(|_| wrong())
}

/// Notes references that lead nowhere.
/// One to a stream of `broken` is not judged: nothing is known of its key.
pub(crate) fn check_references(source: &View<'_>, streams: &[std::sync::Arc<Stream>], broken: &[&str]) -> Take<()> {
    let mut checked = Ok(());
    for stream in streams {
        for reference in stream.writing.iter().flat_map(|writing| &writing.references) {
            let target = streams.iter().find(|target| target.name == reference.stream);
            let is_wrong = target.is_none_or(|target| target.primary_key.len() != 1);
            if is_wrong && !broken.contains(&reference.stream.as_str()) {
                let message = format!(
                    "`{}` of the stream {} refers to `{}`, which is no stream with one key field",
                    reference.field.join("."),
                    stream.name,
                    reference.stream
                );
                checked = Err(source.problem(message));
            }
        }
    }
    checked
}
