//! `RecordSelector`: where a page's records stand, which of them count, and what becomes of them.

use std::sync::Arc;

use bytes::Bytes;
use minijinja::Value;

use super::{
    components::Plugged,
    extract::{self, Extracted, Found, Plan, Step},
    extraction::{Extraction, Reshaped},
    json,
    load::{Take, View},
    normalize::normalize,
    session::Session,
    slice::Slice,
    template::{Python, Template, values::Lazy},
    transform::{Record, Transformation},
};
use crate::{RecordFilter, Result};

/// The component as the manifest writes it.
#[derive(Debug)]
pub(crate) struct Selector {
    extraction: Extraction,
    filter: Option<Filter>,
    transforms_first: Option<bool>,
    pub(crate) normalizes: bool,
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

/// Which records count.
#[derive(Debug)]
enum Filter {
    /// `RecordFilter`.
    Condition(Template),
    /// `CustomRecordFilter`.
    Custom(Plugged<dyn RecordFilter>),
}

impl Selector {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        let extraction = Extraction::load(&view.required_child("extractor")?)?;
        Self::read(view, extraction)
    }

    /// Reads the component for the records of a download, which have been taken out of it by `extractor`.
    pub(crate) fn of_download(view: &View<'_>, extractor: Option<&View<'_>>) -> Take<Self> {
        let own = extractor.filter(|extractor| extractor.kind() != "ResponseToFileExtractor");
        let extraction = own.map(Extraction::load).transpose()?;
        Self::read(view, extraction.unwrap_or_else(|| Extraction::Path(Vec::new())))
    }

    fn read(view: &View<'_>, extraction: Extraction) -> Take<Self> {
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
        let filter = match view.child("record_filter") {
            None => None,
            Some(filter) if filter.kind() == "RecordFilter" => {
                // An empty condition is false: it leaves every record out.
                filter.template("condition")?.map(Filter::Condition)
            }
            Some(filter) if filter.is_custom() => {
                let known = &view.loader().components.filters;
                Some(Filter::Custom(filter.plug_in("record filter", known)?))
            }
            Some(filter) => return Err(filter.unsupported("record filter")),
        };
        Ok(Self { extraction, filter, transforms_first: view.flag("transform_before_filtering")?, normalizes })
    }

    /// The steps to the records with the settings filled in, and what takes them out where they are not at a path.
    ///
    /// # Errors
    /// As for templates.
    pub(crate) fn bind(&self, session: &Session) -> Result<(Vec<Step>, Option<Arc<Reshaped>>)> {
        match self.extraction.bind(session)? {
            Reshaped::Path(steps) => Ok((steps, None)),
            reshaped => Ok((Vec::new(), Some(Arc::new(reshaped)))),
        }
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
        let filter = match &self.filter {
            None => return Ok(true),
            Some(Filter::Condition(filter)) => filter,
            Some(Filter::Custom(filter)) => {
                let record = serde_json::to_value(record()).unwrap_or_default();
                let slice = serde_json::to_value(slice).unwrap_or_default();
                return filter.part.keeps(&record, &slice, &session.own_settings());
            }
        };
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
