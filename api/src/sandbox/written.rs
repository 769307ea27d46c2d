//! Records that somebody wrote: their fields as they were sent. Everything else is made from the seed.

use std::{collections::HashMap, fmt::Write as _, sync::Arc};

use serde_json::value::RawValue;

use super::record::Stream;

/// A field that can be written.
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// The stream whose ids it holds.
    pub reference: Option<Stream>,
    /// It cannot be null.
    pub is_required: bool,
}

const fn plain(name: &'static str) -> Field {
    Field { name, reference: None, is_required: false }
}

const fn reference(name: &'static str, stream: Stream, is_required: bool) -> Field {
    Field { name, reference: Some(stream), is_required }
}

const CONTACT: &[Field] = &[
    plain("external_id"),
    plain("first_name"),
    plain("last_name"),
    plain("email"),
    plain("phone"),
    plain("address"),
    plain("score"),
    plain("lifetime_value"),
    plain("tags"),
    plain("marketing"),
    plain("custom_fields"),
    plain("owner"),
    reference("company_id", Stream::Companies, false),
    plain("notes"),
];
const COMPANY: &[Field] = &[
    plain("name"),
    plain("domain"),
    plain("employees"),
    plain("annual_revenue"),
    plain("headquarters"),
    reference("main_contact_id", Stream::Contacts, false),
    plain("about"),
];
const DEAL: &[Field] = &[
    reference("company_id", Stream::Companies, true),
    reference("contact_id", Stream::Contacts, false),
    plain("title"),
    plain("amount"),
    plain("currency"),
    plain("stage"),
    plain("probability"),
    plain("lost_reason"),
    plain("memo"),
];

/// The fields of a stream that can be written, in the order in which records show them.
pub fn fields(stream: Stream) -> &'static [Field] {
    match stream {
        Stream::Contacts => CONTACT,
        Stream::Companies => COMPANY,
        Stream::Deals => DEAL,
        Stream::Events | Stream::Tags => &[],
    }
}

/// The fields of a record that somebody wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// The values as JSON texts, in the order of [`fields`].
    values: Vec<Box<str>>,
    /// Somebody made the record; otherwise the seed did, and somebody changed it.
    is_made: bool,
}

/// Fields by name, as they were sent.
pub type Sent = HashMap<String, Box<RawValue>>;

impl Body {
    /// A record that somebody makes of the fields that were sent; the others are null.
    pub fn made(stream: Stream, sent: &Sent) -> Self {
        Self { values: values(stream, sent), is_made: true }
    }

    /// A record that the seed made, as its JSON shows it.
    pub fn of_seed(stream: Stream, record: &Sent) -> Self {
        Self { values: values(stream, record), is_made: false }
    }

    /// The record with the fields that were sent; the others are null.
    pub fn whole(self, stream: Stream, sent: &Sent) -> Self {
        Self { values: values(stream, sent), ..self }
    }

    /// The record with the fields that were sent in place of its own.
    pub fn with(mut self, stream: Stream, sent: &Sent) -> Self {
        for (slot, field) in self.values.iter_mut().zip(fields(stream)) {
            if let Some(value) = sent.get(field.name) {
                *slot = value.get().into();
            }
        }
        self
    }

    /// True when somebody made the record, and not the seed.
    pub fn is_made(&self) -> bool {
        self.is_made
    }

    /// The id in a field that refers to a record.
    pub fn id_in(&self, stream: Stream, name: &str) -> Option<u64> {
        let at = fields(stream).iter().position(|field| field.name == name)?;
        self.values.get(at)?.parse().ok()
    }

    /// Another text in the last field: what a change by the product's own people looks like.
    pub fn change_text(&mut self, text: &str) {
        if let Some(last) = self.values.last_mut() {
            *last = serde_json::Value::from(text).to_string().into();
        }
    }

    /// Appends the fields, each after a comma.
    pub fn write(&self, out: &mut String, stream: Stream) {
        for (field, value) in fields(stream).iter().zip(&self.values) {
            // Writing to a String cannot fail.
            let _ = write!(out, r#","{}":{value}"#, field.name);
        }
    }
}

fn values(stream: Stream, sent: &Sent) -> Vec<Box<str>> {
    let text = |field: &Field| sent.get(field.name).map_or("null", |value| value.get()).into();
    fields(stream).iter().map(text).collect()
}

/// All records that somebody wrote. Clones share them.
#[derive(Clone, Default)]
pub struct Written(Arc<HashMap<(Stream, u64), Body>>);

impl Written {
    /// The fields of a record, if it was written.
    pub fn get(&self, stream: Stream, id: u64) -> Option<&Body> {
        self.0.get(&(stream, id))
    }

    /// Keeps the fields of a record.
    pub fn insert(&mut self, stream: Stream, id: u64, body: Body) {
        Arc::make_mut(&mut self.0).insert((stream, id), body);
    }
}
