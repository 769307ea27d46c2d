//! A letter before it has a form: its parts in their order, written once as text and once as a page.

use url::Url;

use super::{page, words};
use crate::ports::Letter;

/// A part.
pub(super) enum Part {
    Paragraph(String),
    /// A code to type or paste, on a line of its own.
    Code(String),
    /// What was observed: name and value.
    Facts(Vec<(&'static str, String)>),
    /// Where to go.
    Link {
        label: &'static str,
        url: String,
    },
}

/// A letter to be.
pub(super) struct Draft {
    to: String,
    subject: String,
    parts: Vec<Part>,
}

impl Draft {
    /// To an address, about something.
    pub(super) fn new(to: &str, subject: &str) -> Self {
        Self { to: to.to_owned(), subject: words::subject(subject), parts: Vec::new() }
    }

    pub(super) fn say(mut self, paragraph: impl Into<String>) -> Self {
        self.parts.push(Part::Paragraph(paragraph.into()));
        self
    }

    pub(super) fn code(mut self, code: &str) -> Self {
        self.parts.push(Part::Code(words::reason(code)));
        self
    }

    /// Facts with an empty value are left out.
    pub(super) fn facts<const N: usize>(mut self, facts: [(&'static str, String); N]) -> Self {
        self.parts.push(Part::Facts(facts.into_iter().filter(|(_, value)| !value.is_empty()).collect()));
        self
    }

    /// A place on the web, if it is one.
    pub(super) fn link(mut self, label: &'static str, url: Option<&Url>) -> Self {
        if let Some(url) = url.filter(|url| matches!(url.scheme(), "http" | "https")) {
            self.parts.push(Part::Link { label, url: url.to_string() });
        }
        self
    }

    /// Both forms.
    pub(super) fn write(self) -> Letter {
        let text: Vec<String> = self.parts.iter().map(text_of).collect();
        let html = page::of(&self.subject, &self.parts);
        Letter { to: self.to, subject: self.subject, text: text.join("\n\n"), html }
    }
}

fn text_of(part: &Part) -> String {
    match part {
        Part::Paragraph(text) => text.clone(),
        Part::Code(code) => format!("Code: {code}"),
        Part::Facts(facts) => {
            facts.iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
        }
        Part::Link { label, url } => format!("{label}:\n{url}"),
    }
}
