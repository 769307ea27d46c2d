//! Values inside an answer by `DpathExtractor`, where they need not be records: a status, an address.

use super::{
    decode::Decoder,
    extract::Step,
    extraction::steps,
    json::Slice,
    load::{Take, View},
    session::Session,
    template::{Python, Template},
};
use crate::{Error, ErrorKind, Result, http::Response, http::redact_url};

/// A path to values.
#[derive(Debug)]
pub(crate) struct ValuePath {
    steps: Vec<Template>,
}

impl ValuePath {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        if view.kind() != "DpathExtractor" {
            return Err(view.unsupported("extractor of values"));
        }
        view.refuse(&["record_expander"])?;
        Ok(Self { steps: view.templates("field_path")?.unwrap_or_default() })
    }

    /// Every value that the path leads to in an answer: the items of a list, or a value that is not empty.
    ///
    /// # Errors
    /// `BadAnswer` for an answer that `decoder` cannot read; as for templates.
    pub(crate) fn find(&self, session: &Session, decoder: &Decoder, response: &Response) -> Result<Vec<Python>> {
        let at = |error: Error| error.with("url", redact_url(&response.url));
        let steps = steps(&self.steps, session)?;
        let mut found = Vec::new();
        for piece in decoder.open(response.body.clone()).map_err(at)? {
            let piece = piece.map_err(at)?;
            let text = std::str::from_utf8(&piece).unwrap_or("");
            let document = Slice::parse(text)
                .map_err(|error| at(Error::new(ErrorKind::BadAnswer, format!("the answer is not JSON: {error}"))))?;
            match document.first() {
                b'[' => document.items().into_iter().for_each(|item| collect(item, &steps, &mut found)),
                _ => collect(document, &steps, &mut found),
            }
        }
        Ok(found)
    }
}

fn collect(document: Slice<'_>, steps: &[Step], found: &mut Vec<Python>) {
    let mut ends = Vec::new();
    walk(document, steps, &mut ends);
    if steps.contains(&Step::Each) {
        return found.extend(ends.into_iter().map(Python::from_json));
    }
    for end in ends {
        match end.first() {
            b'[' => found.extend(end.items().into_iter().map(Python::from_json)),
            _ if end.is_falsy() => {}
            _ => found.push(Python::from_json(end)),
        }
    }
}

/// The values at the end of `steps`.
pub(crate) fn walk<'a>(value: Slice<'a>, steps: &[Step], ends: &mut Vec<Slice<'a>>) {
    let Some((step, rest)) = steps.split_first() else { return ends.push(value) };
    match step {
        Step::Each if value.is_object() => value.members().into_iter().for_each(|(_, value)| walk(value, rest, ends)),
        Step::Nowhere => {}
        Step::Each => value.items().into_iter().for_each(|value| walk(value, rest, ends)),
        Step::Index(index) => {
            let found = usize::try_from(*index).ok().and_then(|index| value.items().into_iter().nth(index));
            if let Some(value) = found {
                walk(value, rest, ends);
            }
        }
        Step::Name(name) => {
            if let Some(value) = value.at(std::slice::from_ref(name)) {
                walk(value, rest, ends);
            }
        }
    }
}
