//! `RecordSelector`: where a page's records stand, which of them count, and what becomes of them.

use bytes::Bytes;
use minijinja::Value;

use super::{
    extract::{self, Extracted, Found, Plan, Step},
    json,
    load::{Take, View},
    normalize::normalize,
    session::Session,
    slice::Slice,
    template::{Python, Template, values::Lazy},
    transform::{Record, Transformation},
};
use crate::Result;

/// The component as the manifest writes it.
#[derive(Debug)]
pub(crate) struct Selector {
    path: Vec<Template>,
    filter: Option<Template>,
    transforms_first: Option<bool>,
    normalizes: bool,
}

/// What a stream does with its records beside selecting them.
pub(crate) struct Changes<'a> {
    /// In the order of the manifest.
    pub(crate) transformations: &'a [Transformation],
    /// The schema that values are normalised to.
    pub(crate) schema: &'a serde_json::Value,
    /// True where old records are left out here, which changes the order of things.
    pub(crate) filters_here: bool,
}

fn is_pattern(step: &str) -> bool {
    step != "*" && !step.contains("{{") && step.contains(['*', '?', '['])
}

impl Selector {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        if view.kind() != "RecordSelector" {
            return Err(view.unsupported("record selector"));
        }
        let normalizes = match view.child("schema_normalization") {
            None => false,
            Some(child) => match child.node().as_text().map(|text| &**text) {
                Some("None") => false,
                Some("Default") => true,
                _ => return Err(child.unsupported("schema normalization")),
            },
        };
        let extractor = view.required_child("extractor")?;
        if extractor.kind() != "DpathExtractor" {
            return Err(extractor.unsupported("record extractor"));
        }
        extractor.refuse(&["record_expander"])?;
        let filter = match view.child("record_filter") {
            None => None,
            // An empty condition is false: it leaves every record out.
            Some(filter) if filter.kind() == "RecordFilter" => filter.template("condition")?,
            Some(filter) => return Err(filter.unsupported("record filter")),
        };
        let path = extractor.templates("field_path")?.unwrap_or_default();
        // A name that comes from a setting may hold anything; one that is written here with such a character is a pattern.
        if let Some(pattern) = path.iter().map(Template::source).find(|source| is_pattern(source)) {
            return Err(extractor.problem(format!(
                "the pattern `{pattern}` in `field_path` is not supported; a step is a name, an index, or `*` for every one"
            )));
        }
        Ok(Self { path, filter, transforms_first: view.flag("transform_before_filtering")?, normalizes })
    }

    /// The steps to the records with the settings filled in.
    ///
    /// # Errors
    /// As for templates.
    pub(crate) fn steps(&self, session: &Session) -> Result<Vec<Step>> {
        let step = |template: &Template| match template.value(&session.engine, session.scope())? {
            // Digits are a number, and a number is no name.
            Python::Int(index) => Ok(Step::Index(index)),
            other => match other.text().as_str() {
                "*" => Ok(Step::Each),
                name => Ok(Step::Name(name.to_owned())),
            },
        };
        self.path.iter().map(step).collect()
    }

    /// The records that count. Without changes they stay slices of the page; with changes they are written anew.
    ///
    /// # Errors
    /// As for templates.
    pub(crate) fn select(
        &self,
        session: &Session,
        slice: &Slice,
        page: &Extracted,
        plan: &Plan,
        changes: &Changes<'_>,
    ) -> Result<(Bytes, Vec<Found>)> {
        let slice = slice.to_value();
        if !changes.transformations.is_empty() || self.normalizes {
            return self.changed(session, &slice, page, plan, changes);
        }
        let mut kept = Vec::with_capacity(page.records.len());
        for found in &page.records {
            let range = found.slice.body.start as usize..found.slice.body.end as usize;
            if self.keeps(session, &slice, || Lazy::value(&page.body, range))? {
                kept.push(found.clone());
            }
        }
        Ok((page.body.clone(), kept))
    }

    fn changed(
        &self,
        session: &Session,
        slice: &Value,
        page: &Extracted,
        plan: &Plan,
        changes: &Changes<'_>,
    ) -> Result<(Bytes, Vec<Found>)> {
        let transforms_first = self.transforms_first.unwrap_or(changes.filters_here);
        let text = std::str::from_utf8(&page.body).unwrap_or("");
        let mut texts = Vec::with_capacity(page.records.len());
        for found in &page.records {
            let mut record = Record::open(json::Slice::checked(
                &text[found.slice.body.start as usize..found.slice.body.end as usize],
            ));
            if !transforms_first && !self.keeps(session, slice, || record.to_value())? {
                continue;
            }
            for change in changes.transformations {
                change.apply(session, slice, &mut record)?;
            }
            if transforms_first && !self.keeps(session, slice, || record.to_value())? {
                continue;
            }
            texts.push(if self.normalizes { normalized(&record.text(), changes.schema) } else { record.text() });
        }
        extract::rewritten(&texts, plan)
    }

    fn keeps(&self, session: &Session, slice: &Value, record: impl FnOnce() -> Value) -> Result<bool> {
        let Some(filter) = &self.filter else { return Ok(true) };
        let scope =
            session.scope().clone().with_slice(slice).with("next_page_token", Value::from(())).with("record", record());
        filter.is_met(&session.engine, &scope)
    }
}

fn normalized(record: &str, schema: &serde_json::Value) -> String {
    let mut value = Python::from_json(json::Slice::checked(record));
    normalize(&mut value, schema);
    value.to_json()
}
