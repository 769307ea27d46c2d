//! `check`: which streams a connection is tried with.

use super::load::{Take, View};

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
    pub(crate) fn load(source: &View<'_>) -> Take<Self> {
        let view = source.required_child("check")?;
        view.refuse(&["config_overrides"])?;
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
                count: count(&view, "stream_count")?
                    .ok_or_else(|| view.problem("a CheckDynamicStream needs `stream_count`"))?,
                tries: view.flag("use_check_availability")?.unwrap_or(true),
            }),
            _ => Err(view.unsupported("check")),
        }
    }
}
