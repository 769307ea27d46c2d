//! `check`: which streams a connection is tried with.

use serde_json::{Map, Value};

use super::load::{Take, View};

/// The component in the field called `check`.
#[derive(Debug)]
pub(crate) struct Checked {
    /// What is tried.
    pub(crate) check: Check,
    /// Settings that take the place of the person's for it.
    pub(crate) overrides: Map<String, Value>,
}

/// The component as the manifest writes it.
#[derive(Debug)]
pub(crate) enum Check {
    /// `CheckStream`: streams by name, and so many of each dynamic template (all, where nothing is said).
    Streams { names: Vec<String>, dynamic: Vec<(String, Option<usize>)> },
    /// `CheckDynamicStream`: so many of all streams; only that there are any, where they are not to be tried.
    Any { count: usize, tries: bool },
}

impl Check {
    /// Reads the component in the field called `check`.
    pub(crate) fn load(source: &View<'_>) -> Take<Checked> {
        let view = source.required_child("check")?;
        let overrides = match view.field("config_overrides").map(|node| node.to_json()) {
            None => Map::new(),
            Some(Value::Object(overrides)) => overrides,
            Some(_) => return Err(view.problem("`config_overrides` must be a mapping of settings")),
        };
        Ok(Checked { check: Self::read(&view)?, overrides })
    }

    fn read(view: &View<'_>) -> Take<Self> {
        let count = |view: &View<'_>, name: &str| -> Take<Option<usize>> {
            let Some(count) = view.int(name)? else { return Ok(None) };
            usize::try_from(count).map(Some).map_err(|_| view.problem(format!("`{name}` must not be below zero")))
        };
        match view.kind() {
            "CheckStream" => {
                let dynamic: Vec<_> = view
                    .children("dynamic_streams_check_configs")
                    .iter()
                    .map(|config| Ok((config.required_text("dynamic_stream_name")?, count(config, "stream_count")?)))
                    .collect();
                Ok(Self::Streams {
                    names: view.texts("stream_names")?.unwrap_or_default(),
                    dynamic: dynamic.into_iter().collect::<Take<_>>()?,
                })
            }
            "CheckDynamicStream" => Ok(Self::Any {
                count: count(view, "stream_count")?
                    .ok_or_else(|| view.problem("a CheckDynamicStream needs `stream_count`"))?,
                tries: view.flag("use_check_availability")?.unwrap_or(true),
            }),
            _ => Err(view.unsupported("check")),
        }
    }
}
