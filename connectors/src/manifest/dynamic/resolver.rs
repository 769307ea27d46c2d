//! Where the values come from that make streams of a template.

use std::sync::Arc;

use super::super::{
    load::{Take, View},
    retriever::Retriever,
    session::Session,
    slice::Slice,
    stream::Stream,
    sweep::sweep,
    template::{Python, Template},
    yaml::Data,
};
use crate::{Error, ErrorKind, Result};

/// Streams that one product or setting may make at most.
const STREAMS_MAX: usize = 10_000;

/// `components_resolver`.
#[derive(Debug)]
pub(super) enum Resolver {
    /// One stream for each record of a request.
    Http(Arc<Stream>),
    /// One stream for each combination of entries in the settings.
    Config(Vec<Entries>),
    /// One stream for each entry of a list in the manifest.
    Listed(Vec<Python>),
}

/// `StreamConfig`: a list in the settings.
#[derive(Debug)]
pub(super) struct Entries {
    pointer: Vec<Template>,
    defaults: Vec<Python>,
}

/// What makes one stream.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) values: Python,
    pub(super) slice: Option<Slice>,
}

impl Resolver {
    /// Reads the component.
    pub(super) fn load(view: &View<'_>) -> Take<Self> {
        match view.kind() {
            "HttpComponentsResolver" => Ok(Self::Http(Arc::new(Stream::bare("components", Retriever::load(view)?)))),
            "ConfigComponentsResolver" | "ConfigComponentResolver" => {
                let entries: Vec<_> = view.children("stream_config").iter().map(Entries::load).collect();
                entries.into_iter().collect::<Take<_>>().map(Self::Config)
            }
            "ParametrizedComponentsResolver" => {
                let parameters = view.required_child("stream_parameters")?;
                let listed = parameters.field("list_of_parameters_for_stream");
                match listed.as_ref().map(|node| &node.data) {
                    Some(Data::List(items)) => {
                        Ok(Self::Listed(items.iter().map(|item| Python::from(&item.to_json())).collect()))
                    }
                    _ => Err(parameters.problem("`list_of_parameters_for_stream` must be a list")),
                }
            }
            _ => Err(view.unsupported("components resolver")),
        }
    }

    /// True where a text that is put into a template is read as YAML.
    pub(super) fn reads_yaml(&self) -> bool {
        !matches!(self, Self::Http(_))
    }

    /// Everything that makes a stream, in order.
    ///
    /// # Errors
    /// As for requests; `Invalid` for more than ten thousand streams.
    pub(super) async fn find(&self, session: &Arc<Session>) -> Result<Vec<Found>> {
        let too_many = || Error::new(ErrorKind::Invalid, format!("a template makes more than {STREAMS_MAX} streams"));
        match self {
            Self::Listed(values) => {
                Ok(values.iter().map(|values| Found { values: values.clone(), slice: None }).collect())
            }
            Self::Config(entries) => {
                let mut combinations = vec![Vec::new()];
                for (number, entries) in entries.iter().enumerate() {
                    let items = entries.items(session)?;
                    if combinations.len() * items.len() > STREAMS_MAX {
                        return Err(too_many());
                    }
                    let join =
                        |one: &Vec<(Python, Python)>, index: usize, item: &Python| merged(one, number, index, item);
                    combinations = combinations
                        .iter()
                        .flat_map(|one| items.iter().enumerate().map(move |(index, item)| join(one, index, item)))
                        .collect();
                }
                let found = |members| Found { values: Python::Dict(members), slice: None };
                Ok(combinations.into_iter().map(found).collect())
            }
            Self::Http(source) => {
                let mut all = Vec::new();
                sweep(source, session, |slice, record| {
                    if all.len() >= STREAMS_MAX {
                        return Err(too_many());
                    }
                    all.push(Found { values: Python::from_json(record), slice: Some(slice.clone()) });
                    Ok(true)
                })
                .await?;
                Ok(all)
            }
        }
    }
}

/// The members of an entry over those before; what is no mapping keeps a name of its own.
fn merged(known: &[(Python, Python)], number: usize, index: usize, item: &Python) -> Vec<(Python, Python)> {
    let mut members = known.to_vec();
    match item {
        Python::Dict(new) => {
            for (key, value) in new {
                match members.iter_mut().find(|(known, _)| known == key) {
                    Some((_, slot)) => *slot = value.clone(),
                    None => members.push((key.clone(), value.clone())),
                }
            }
        }
        other => {
            let name = Python::Text(format!("source_config_{number}"));
            members.push((name, Python::Tuple(vec![Python::Int(index as i128), other.clone()])));
        }
    }
    members
}

impl Entries {
    fn load(view: &View<'_>) -> Take<Self> {
        let defaults = match view.field("default_values").as_ref().map(|node| &node.data) {
            Some(Data::List(items)) => items.iter().map(|item| Python::from(&item.to_json())).collect(),
            Some(_) => return Err(view.problem("`default_values` must be a list")),
            None => Vec::new(),
        };
        Ok(Self { pointer: view.templates("configs_pointer")?.unwrap_or_default(), defaults })
    }

    fn items(&self, session: &Session) -> Result<Vec<Python>> {
        let mut found = Some(&*session.settings);
        for step in &self.pointer {
            let step = step.text(&session.engine, session.scope())?;
            found = found.and_then(|value| match value {
                serde_json::Value::Array(items) => items.get(step.parse::<usize>().ok()?),
                other => other.get(&step),
            });
        }
        let mut items = match found {
            None => Vec::new(),
            Some(serde_json::Value::Array(items)) => items.iter().map(Python::from).collect(),
            Some(one) => vec![Python::from(one)],
        };
        items.extend(self.defaults.iter().cloned());
        Ok(items)
    }
}
