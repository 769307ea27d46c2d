//! Lists of partitions: the values of a list, combinations of lists, and the slices of a parent.

use serde_json::Value;

use super::{
    cursor::Progress,
    load::{Take, View, scalar_text},
    session::Session,
    slice::Slice,
    template::{Python, Template},
    yaml::Data,
};
use crate::{Error, ErrorKind, Result};

/// The values of a list.
#[derive(Debug)]
pub(crate) enum Values {
    /// As written.
    Fixed(Vec<Python>),
    /// From a template.
    Template(Template),
}

impl Values {
    /// Reads the field called `values`.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        let Some(node) = view.field("values") else { return Err(view.problem("a ListPartitionRouter needs `values`")) };
        Ok(match &node.data {
            Data::List(items) => {
                let texts = items.iter().map(|item| scalar_text(item).map(|text| Python::Text(text.to_string())));
                Self::Fixed(
                    texts.collect::<Option<_>>().ok_or_else(|| view.problem("`values` must be a list of texts"))?,
                )
            }
            _ => Self::Template(view.required_template("values")?),
        })
    }

    /// The values.
    ///
    /// # Errors
    /// As for templates; `Invalid` for what is no list.
    pub(crate) fn evaluate(&self, session: &Session) -> Result<Vec<Python>> {
        let template = match self {
            Self::Fixed(values) => return Ok(values.clone()),
            Self::Template(template) => template,
        };
        match template.value(&session.engine, session.scope())? {
            Python::List(items) | Python::Tuple(items) | Python::Set(items) => Ok(items),
            // A setting that was left empty: no partition.
            Python::Text(text) if text.is_empty() => Ok(Vec::new()),
            other => {
                let message = format!(
                    "`values` of a ListPartitionRouter gives `{}`, which is no list: check the setting it comes from",
                    other.text()
                );
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }
}

/// The slices of a parent, and what is remembered of them.
pub(crate) struct ParentSlices {
    pub(crate) progress: Option<Progress>,
    pub(crate) slices: std::vec::IntoIter<Slice>,
}

impl ParentSlices {
    /// The next slice.
    pub(crate) fn next(&mut self) -> Option<Slice> {
        self.slices.next()
    }

    /// The moment from which a slice's partition reads.
    pub(crate) fn from(&self, slice: &Slice) -> Option<super::time::Moment> {
        self.progress.as_ref().map(|progress| progress.from(slice))
    }

    /// Notes that a slice has been read.
    ///
    /// # Errors
    /// As for [`Progress::close`].
    pub(crate) fn close(&mut self, slice: &Slice, latest: Option<super::time::Moment>) -> Result<()> {
        let Some(progress) = &mut self.progress else { return Ok(()) };
        if let Some(latest) = &latest {
            progress.observe(latest);
        }
        progress.close(slice, latest)
    }

    /// Notes that a slice was not read.
    pub(crate) fn leave_unread(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.leave_unread();
        }
    }

    /// The parent's own state after all of them.
    pub(crate) fn final_state(&mut self) -> Option<Value> {
        self.progress.as_mut().map(Progress::final_state)
    }
}
