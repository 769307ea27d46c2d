//! Attachments of a stream's records: the published `file_uploader`, or `x-listbackup: {attachments: …}`, which can also
//! name several files a record, with their own ids and versions.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use minijinja::Value;
use serde_json::json;
use sha2::Digest as _;

use super::{
    cursor::{named_from_json, named_json},
    extract::Step,
    json::Slice as Json,
    load::{Take, View},
    request::requester::{Call, Requester},
    session::Session,
    slice::Slice,
    stream::Stream,
    template::{Python, Template, values::Lazy},
};
use crate::{
    Attachment, AttachmentBody, AttachmentRequest, Error, ErrorKind, RecordSlice, Result,
    http::{HeaderName, HeaderValue},
};

/// Where a stream's attachments stand in its records, and how each is asked for.
#[derive(Debug)]
pub(crate) struct Attachments {
    /// Path to each in its record; a text at its end is where to download it from.
    path: Vec<Template>,
    /// What requests call it: `attachment`, or `download_target` in the published component.
    called: &'static str,
    id: Option<Template>,
    name: Option<Template>,
    media_type: Option<Template>,
    size: Option<Template>,
    version: Option<Template>,
    /// The published component knows no versions: its records describe their files, so that one that did not change has an
    /// unchanged file.
    has_version_of_record: bool,
    requester: Requester,
}

impl Attachments {
    /// Reads what the stream says of attachments, if anything.
    pub(crate) fn load(stream: &View<'_>) -> Take<Option<Self>> {
        let own = stream.child("x-listbackup").and_then(|own| own.child("attachments"));
        match (stream.child("file_uploader"), own) {
            (Some(view), None) => Self::published(&view).map(Some),
            (None, Some(view)) => Self::own(&view).map(Some),
            (Some(view), Some(_)) => {
                Err(view.problem("`file_uploader` and `x-listbackup.attachments` exclude each other"))
            }
            (None, None) => Ok(None),
        }
    }

    fn published(view: &View<'_>) -> Take<Self> {
        let refused = view.refuse(&["file_extractor"]);
        let target = view.required_child("download_target_extractor")?;
        if target.kind() != "DpathExtractor" {
            return Err(target.unsupported("download target extractor"));
        }
        let requester = view.required_child("requester").and_then(|requester| Requester::load(&requester));
        let (path, name) = (target.templates("field_path"), view.template("filename_extractor"));
        refused?;
        Ok(Self {
            path: path?.unwrap_or_default(),
            called: "download_target",
            id: None,
            name: name?,
            media_type: None,
            size: None,
            version: None,
            has_version_of_record: true,
            requester: requester?,
        })
    }

    fn own(view: &View<'_>) -> Take<Self> {
        let requester = view.required_child("requester").and_then(|requester| Requester::load(&requester));
        let path = view.templates("field_path");
        let [id, name, media_type] = ["id", "name", "media_type"].map(|field| view.template(field));
        let [size, version] = ["size", "version"].map(|field| view.template(field));
        Ok(Self {
            path: path?.unwrap_or_default(),
            called: "attachment",
            id: id?,
            name: name?,
            media_type: media_type?,
            size: size?,
            version: version?,
            has_version_of_record: false,
            requester: requester?,
        })
    }

    /// The attachments of a page's records.
    ///
    /// # Errors
    /// As for templates; `Invalid` when two attachments of a record have one id.
    pub(crate) fn of_page(
        &self,
        session: &Session,
        slice: &Slice,
        body: &Bytes,
        records: &[RecordSlice],
    ) -> Result<Vec<Attachment>> {
        let steps: Vec<Step> = self.path.iter().map(|step| self.step(session, step)).collect::<Result<_>>()?;
        let mut attachments = Vec::new();
        for (number, record) in records.iter().enumerate().filter(|(_, record)| !record.is_deletion) {
            let range = record.body.start as usize..record.body.end as usize;
            let text = std::str::from_utf8(&body[range.clone()]).unwrap_or("{}");
            let mut found = Vec::new();
            walk(Json::checked(text), &steps, &mut found);
            let first = attachments.len();
            for target in found.into_iter().filter(|target| !target.is_null()) {
                let target = Python::from_json(target);
                let scope = session
                    .scope()
                    .clone()
                    .with_slice(&slice.to_value())
                    .with("next_page_token", Value::from(()))
                    .with("record", Lazy::value(body, range.clone()))
                    .with(self.called, super::template::values::from_python(&target));
                let value = |template: &Option<Template>| -> Result<Option<String>> {
                    let Some(template) = template else { return Ok(None) };
                    let text = template.text(&session.engine, &scope)?;
                    Ok(Some(text).filter(|text| !text.is_empty() && text != "None"))
                };
                let id = match value(&self.id)? {
                    Some(id) => id,
                    None => (attachments.len() - first).to_string(),
                };
                let version = if self.has_version_of_record {
                    Some(URL_SAFE_NO_PAD.encode(sha2::Sha256::digest(text)))
                } else {
                    value(&self.version)?
                };
                attachments.push(Attachment {
                    record: number as u32,
                    name: value(&self.name)?.unwrap_or_else(|| last_part(&target, &id)),
                    media_type: value(&self.media_type)?,
                    size_bytes: value(&self.size)?.and_then(|size| size.parse().ok()),
                    version,
                    locator: locator(slice, self.called, &target),
                    id,
                });
            }
            check_ids(&attachments[first..])?;
        }
        Ok(attachments)
    }

    fn step(&self, session: &Session, step: &Template) -> Result<Step> {
        Ok(match step.text(&session.engine, session.scope())?.as_str() {
            "*" => Step::Each,
            name => Step::Name(name.to_owned()),
        })
    }

    /// Opens one.
    ///
    /// # Errors
    /// As for requests; `Denied` when its address is elsewhere and the requester would send credentials there.
    pub(crate) async fn open(
        &self,
        session: &Session,
        stream: &Stream,
        request: &AttachmentRequest,
    ) -> Result<AttachmentBody> {
        let call = self
            .call(&request.locator)
            .ok_or_else(|| Error::new(ErrorKind::Invalid, "the attachment's locator was not written by this stream"))?;
        let home = stream.retriever.requester.home(session, &call)?;
        let mut headers = Vec::new();
        if let Some(resume) = &request.resume {
            let wrong = |_| Error::new(ErrorKind::Invalid, "the entity tag of an attachment cannot stand in a header");
            let range = HeaderValue::from_str(&format!("bytes={}-", resume.offset_bytes)).map_err(wrong)?;
            headers.push((HeaderName::from_static("range"), range));
            let tag = HeaderValue::from_str(&resume.validator).map_err(wrong)?;
            headers.push((HeaderName::from_static("if-range"), tag));
        }
        let opened = self.requester.open(session, &call, &home, &headers).await?;
        Ok(AttachmentBody {
            offset_bytes: opened.offset_bytes()?,
            validator: opened.validator(),
            media_type: opened.media_type(),
            bytes: opened.body,
        })
    }

    fn call(&self, locator: &serde_json::Value) -> Option<Call> {
        let partition = named_from_json(locator.get("partition")?);
        let target = Python::from(locator.get("target")?);
        let slice = Slice { partition, window: Vec::new(), extra: vec![(self.called.to_owned(), target)] };
        Some(Call { slice, ..Call::default() })
    }
}

fn locator(slice: &Slice, called: &str, target: &Python) -> serde_json::Value {
    let target: serde_json::Value = serde_json::from_str(&target.to_json()).unwrap_or_default();
    json!({ "partition": named_json(&slice.partition), "called": called, "target": target })
}

fn walk<'a>(value: Json<'a>, steps: &[Step], found: &mut Vec<Json<'a>>) {
    let Some((step, rest)) = steps.split_first() else { return found.push(value) };
    match step {
        Step::Each if value.is_object() => value.members().into_iter().for_each(|(_, value)| walk(value, rest, found)),
        Step::Nowhere => {}
        Step::Each => value.items().into_iter().for_each(|value| walk(value, rest, found)),
        Step::Name(name) => {
            if let Some(value) = value.at(std::slice::from_ref(name)) {
                walk(value, rest, found);
            }
        }
        Step::Index(index) => {
            if let Some(value) = usize::try_from(*index).ok().and_then(|index| value.items().into_iter().nth(index)) {
                walk(value, rest, found);
            }
        }
    }
}

/// The last part of an address, without its query; for other targets the id.
fn last_part(target: &Python, id: &str) -> String {
    let Python::Text(address) = target else { return id.to_owned() };
    let path = address.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().filter(|part| !part.is_empty()).unwrap_or(id).to_owned()
}

fn check_ids(attachments: &[Attachment]) -> Result<()> {
    for (i, attachment) in attachments.iter().enumerate() {
        if attachments[..i].iter().any(|earlier| earlier.id == attachment.id) {
            let message = format!("two attachments of a record have the id `{}`", attachment.id);
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    }
    Ok(())
}
