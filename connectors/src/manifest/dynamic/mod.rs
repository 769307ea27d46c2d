//! `DynamicDeclarativeStream`: streams that exist only once settings are known, or once the product was asked.

mod nodes;
mod resolver;

use std::{collections::BTreeSet, sync::Arc};

use self::{
    nodes::Placed,
    resolver::{Found, Resolver},
};
use super::{
    load::{Kept, Later, Loader, Take, View},
    session::Session,
    stream::Stream,
    template::{Only, Python, Template, values},
    transform::value_type,
    yaml::{self, Node},
};
use crate::{Error, ErrorKind, Result};

/// The streams of one template.
#[derive(Debug)]
pub(crate) struct DynamicStreams {
    /// Its name, by which `check` knows it.
    pub(crate) name: String,
    template: Kept,
    /// What loads the streams later.
    later: Later,
    resolver: Resolver,
    mappings: Vec<Mapping>,
}

/// `ComponentMappingDefinition`: what is put where in the template.
#[derive(Debug)]
struct Mapping {
    path: Vec<Template>,
    value: Template,
    only: Only,
    creates: bool,
    condition: Option<Template>,
}

/// Streams that were found, and the session that their templates run in.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Each with the name of its template.
    pub(crate) streams: Vec<(String, Arc<Stream>)>,
    pub(crate) session: Arc<Session>,
}

impl DynamicStreams {
    /// Reads the components in the list called `dynamic_streams`.
    pub(crate) fn load_all(source: &View<'_>) -> Take<Vec<Self>> {
        let all: Vec<_> = source
            .children("dynamic_streams")
            .iter()
            .enumerate()
            .map(|(index, view)| Self::load(view, index))
            .collect();
        all.into_iter().collect()
    }

    fn load(view: &View<'_>, index: usize) -> Take<Self> {
        if view.kind() != "DynamicDeclarativeStream" {
            return Err(view.unsupported("dynamic stream"));
        }
        let name = view.text("name")?.unwrap_or_else(|| format!("dynamic_stream_{index}"));
        let template = view.required_child("stream_template")?;
        // Most of what is wrong with the streams is wrong with their template, and is told here with its line.
        let tried = Stream::load(&template.named("template"));
        let resolver_view = view.required_child("components_resolver")?;
        let resolver = Resolver::load(&resolver_view);
        let mappings: Vec<_> = resolver_view.children("components_mapping").iter().map(Mapping::load).collect();
        tried?;
        Ok(Self {
            name,
            template: view.keep("stream_template")?,
            later: view.loader().later(),
            resolver: resolver?,
            mappings: mappings.into_iter().collect::<Take<_>>()?,
        })
    }

    /// The template with what was found put into it.
    fn filled(&self, session: &Session, found: &Found) -> Result<Arc<Node>> {
        let mut node = Arc::clone(self.template.node());
        let slice = found.slice.clone().unwrap_or_default().to_value();
        let mut scope = session.scope().clone().with("components_values", values::from_python(&found.values));
        if found.slice.is_some() {
            scope = scope.with("stream_slice", slice.clone()).with("stream_partition", slice);
        }
        for mapping in &self.mappings {
            if let Some(condition) = &mapping.condition
                && !condition.is_met(&session.engine, &scope)?
            {
                continue;
            }
            let value = mapping.value.value_of(&session.engine, &scope, mapping.only)?;
            let path =
                mapping.path.iter().map(|step| step.text(&session.engine, &scope)).collect::<Result<Vec<_>>>()?;
            let value = match &value {
                // Settings hold numbers and lists as text.
                Python::Text(text) if self.resolver.reads_yaml() && mapping.only != Only::Text => {
                    yaml::parse(text).unwrap_or_else(|_| nodes::node(&value, node.place))
                }
                _ => nodes::node(&value, node.place),
            };
            let placed = Placed { value: &value, creates: mapping.creates && !value.is_falsy() };
            node = placed.at(&node, &path);
        }
        Ok(node)
    }
}

impl Mapping {
    fn load(view: &View<'_>) -> Take<Self> {
        let only = value_type(view)?;
        Ok(Self {
            path: view.templates("field_path")?.unwrap_or_default(),
            value: view.required_template("value")?,
            only,
            creates: view.flag("create_or_update")?.unwrap_or(false),
            condition: view.template("condition")?.filter(|template| !template.source().is_empty()),
        })
    }
}

/// Finds all dynamic streams and loads them. `known` are the names that are taken.
///
/// # Errors
/// As for requests; `Invalid` with every problem when what was found makes no stream, or two of one name.
pub(crate) async fn resolve(
    all: &[DynamicStreams],
    session: &Arc<Session>,
    known: &BTreeSet<String>,
) -> Result<Resolved> {
    let mut filled = Vec::new();
    for dynamic in all {
        for found in dynamic.resolver.find(session).await? {
            filled.push((dynamic, dynamic.filled(session, &found)?));
        }
    }
    load(&filled, session, known)
}

/// Loads the streams of filled templates. The nodes are kept until all are loaded: a loader knows a stream by its node.
fn load(filled: &[(&DynamicStreams, Arc<Node>)], session: &Arc<Session>, known: &BTreeSet<String>) -> Result<Resolved> {
    let invalid = |problems| Error::invalid("the streams that were found cannot be read", problems);
    let Some((first, _)) = filled.first() else {
        return Ok(Resolved { streams: Vec::new(), session: Arc::clone(session) });
    };
    let loader = Loader::again(&first.later);
    let mut streams = Vec::with_capacity(filled.len());
    for (dynamic, node) in filled {
        loader.tell(!dynamic.resolver.reads_yaml());
        let view = dynamic.template.view(&loader, node);
        streams.push((dynamic.name.clone(), Stream::load(&view)));
    }
    let (compiler, problems) = loader.into_parts();
    if !problems.is_empty() {
        return Err(invalid(problems));
    }
    let streams: Vec<_> = streams.into_iter().filter_map(|(name, stream)| Some((name, stream.ok()?))).collect();
    let mut names = known.clone();
    if let Some((_, twice)) = streams.iter().find(|(_, stream)| !names.insert(stream.name.clone())) {
        let message =
            format!("several streams have the name `{}`: check the settings that they are made of", twice.name);
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(Resolved { streams, session: Arc::new(session.with_engine(Arc::new(compiler.finish()))) })
}
