//! Extractors that do more than follow a path: several at once, records out of records, and an embedder's own.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    components::Plugged,
    expander::{BoundExpander, Expander},
    extract::Step,
    json::Slice as Json,
    load::{Take, View},
    session::Session,
    template::{Python, Template},
    values::walk,
};
use crate::{Error, ErrorKind, RecordExtractor, Result, Settings};

/// `extractor` of a record selector.
#[derive(Debug)]
pub(crate) enum Extraction {
    /// `DpathExtractor`: records stay where they are in the page.
    Path(Vec<Template>),
    /// `DpathExtractor` with a `RecordExpander`.
    Expanded(Vec<Template>, Expander),
    /// `CombinedExtractor`.
    Combined { parts: Vec<Extraction>, first_match: bool, skips_empty: bool },
    /// `CustomRecordExtractor`.
    Custom(Plugged<dyn RecordExtractor>),
}

/// The same with the settings filled in.
#[derive(Debug)]
pub(crate) enum Reshaped {
    Path(Vec<Step>),
    Expanded(Vec<Step>, BoundExpander),
    Combined { parts: Vec<Reshaped>, first_match: bool, skips_empty: bool },
    Custom(Plugged<dyn RecordExtractor>, Secret),
}

/// Settings that are never printed.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) Settings);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// A name with a character that a pattern has.
fn is_pattern(step: &str) -> bool {
    step != "*" && !step.contains("{{") && step.contains(['*', '?', '['])
}

impl Extraction {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        match view.kind() {
            _ if view.is_custom() => {
                view.plug_in("record extractor", &view.loader().components.extractors).map(Self::Custom)
            }
            "DpathExtractor" => {
                let path = view.templates("field_path")?.unwrap_or_default();
                // A name that comes from a setting may hold anything; one that is written here is a pattern.
                if let Some(pattern) = path.iter().map(Template::source).find(|source| is_pattern(source)) {
                    return Err(view.problem(format!(
                        "the pattern `{pattern}` in `field_path` is not supported; a step is a name, an index, or `*` for every one"
                    )));
                }
                match view.child("record_expander") {
                    None => Ok(Self::Path(path)),
                    Some(expander) => Expander::load(&expander).map(|expander| Self::Expanded(path, expander)),
                }
            }
            "CombinedExtractor" => {
                let parts: Vec<_> = view.children("extractors").iter().map(Self::load).collect();
                let parts = parts.into_iter().collect::<Take<Vec<_>>>()?;
                let first_match = match view.text("mode")?.as_deref() {
                    None | Some("union") => false,
                    Some("first_match") => true,
                    Some(other) => return Err(view.problem(format!("`mode` cannot be `{other}`"))),
                };
                if parts.is_empty() {
                    return Err(view.problem("a CombinedExtractor needs `extractors`"));
                }
                Ok(Self::Combined {
                    parts,
                    first_match,
                    skips_empty: view.flag("skip_empty_records")?.unwrap_or(false),
                })
            }
            _ => Err(view.unsupported("record extractor")),
        }
    }

    /// Fills in the settings.
    ///
    /// # Errors
    /// As for templates.
    pub(crate) fn bind(&self, session: &Session) -> Result<Reshaped> {
        Ok(match self {
            Self::Path(path) => Reshaped::Path(steps(path, session)?),
            Self::Expanded(path, expander) => Reshaped::Expanded(steps(path, session)?, expander.bind(session)?),
            Self::Combined { parts, first_match, skips_empty } => Reshaped::Combined {
                parts: parts.iter().map(|part| part.bind(session)).collect::<Result<_>>()?,
                first_match: *first_match,
                skips_empty: *skips_empty,
            },
            Self::Custom(custom) => Reshaped::Custom(custom.clone(), Secret(session.own_settings())),
        })
    }
}

/// A path with the settings filled in.
///
/// # Errors
/// As for templates.
pub(crate) fn steps(path: &[Template], session: &Session) -> Result<Vec<Step>> {
    let step = |template: &Template| match template.value(&session.engine, session.scope())? {
        // Digits are a number, and a number is no name.
        Python::Int(index) => Ok(Step::Index(index)),
        other => match other.text().as_str() {
            "*" => Ok(Step::Each),
            name => Ok(Step::Name(name.to_owned())),
        },
    };
    path.iter().map(step).collect()
}

impl Reshaped {
    /// The records of a page as a JSON list, and how many empty ones were left out.
    ///
    /// # Errors
    /// `BadAnswer` for a page that is not JSON.
    pub(crate) fn rewrite(self: &Arc<Self>, body: &Bytes) -> Result<(Bytes, usize)> {
        let not_json =
            |error: &dyn std::fmt::Display| Error::new(ErrorKind::BadAnswer, format!("the page is not JSON: {error}"));
        let text = std::str::from_utf8(body).map_err(|error| not_json(&error))?;
        let page = Json::parse(text).map_err(|error| not_json(&error))?;
        let (texts, dropped) = self.texts(page)?;
        Ok((Bytes::from(format!("[{}]", texts.join(","))), dropped))
    }

    fn texts(&self, page: Json<'_>) -> Result<(Vec<String>, usize)> {
        match self {
            Self::Path(steps) => Ok((found(page, steps).iter().map(|record| record.text().to_owned()).collect(), 0)),
            Self::Expanded(steps, expander) => {
                let records = found(page, steps);
                Ok((records.into_iter().flat_map(|record| expander.expand(record)).collect(), 0))
            }
            Self::Custom(custom, settings) => Ok((custom.part.extract(page.text().as_bytes(), &settings.0)?, 0)),
            Self::Combined { parts, first_match, skips_empty } => {
                let (mut all, mut dropped) = (Vec::new(), 0);
                for part in parts {
                    let (mut texts, mut own) = part.texts(page)?;
                    if *skips_empty {
                        let before = texts.len();
                        texts.retain(|text| !Json::checked(text).is_falsy());
                        own += before - texts.len();
                    }
                    let is_match = !texts.is_empty();
                    if *first_match && !is_match {
                        continue;
                    }
                    all.append(&mut texts);
                    dropped += own;
                    if *first_match {
                        break;
                    }
                }
                Ok((all, dropped))
            }
        }
    }
}

/// The records where a path leads, in every item of a page that is a list.
fn found<'a>(page: Json<'a>, steps: &[Step]) -> Vec<Json<'a>> {
    let documents = if page.first() == b'[' { page.items() } else { vec![page] };
    let is_each = steps.contains(&Step::Each);
    let mut records = Vec::new();
    for document in documents {
        let mut ends = Vec::new();
        walk(document, steps, &mut ends);
        for end in ends {
            match end.first() {
                b'[' if !is_each => records.extend(end.items()),
                _ if !is_each && end.is_falsy() => {}
                _ => records.push(end),
            }
        }
    }
    records
}
