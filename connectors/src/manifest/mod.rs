//! Runs connectors written in the published low-code manifest language, unmodified.
//!
//! A manifest is loaded once ([`ManifestIntegration::parse`]): references, parameters, templates and types are checked, and every
//! problem is told with its line and its path in the tree. Bound to a person's settings it is a [`crate::Connector`].
//! Pages stay as they were received: records are slices of them, unless a stream changes its records.

mod attachments;
pub mod compat;
mod connector;
mod cursor;
pub(crate) mod extract;
mod headers;
mod json;
mod load;
mod normalize;
mod paginate;
mod partition;
mod request;
mod retriever;
mod run;
mod selector;
mod session;
mod settings;
mod slice;
mod spec;
mod stream;
mod template;
mod time;
mod told_error;
mod transform;
mod write;
mod yaml;

use std::{collections::BTreeSet, sync::Arc};

use self::{
    connector::{Manifest, ManifestConnector},
    load::{Loader, Take, View},
    session::Session,
    stream::Stream,
    template::Engine,
};
use crate::{Connector, Error, Integration, Link, Result, Spec};

/// Loads a manifest; see [`ManifestIntegration::parse`].
///
/// # Errors
/// As for [`ManifestIntegration::parse`].
pub fn parse(name: &str, file: &str, text: &str) -> Result<ManifestIntegration> {
    ManifestIntegration::parse(name, file, text)
}

/// A loaded manifest.
pub struct ManifestIntegration {
    spec: Spec,
    manifest: Arc<Manifest>,
    engine: Arc<Engine>,
}

impl ManifestIntegration {
    /// Loads a manifest. `name` is the integration's name in URLs and on the command line; problems are told as places in
    /// `file`, such as `shop.yaml:12:5`.
    ///
    /// # Errors
    /// `Invalid` with every problem: what is not YAML, what is missing, what is not supported, templates that cannot work.
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self> {
        let refused = |problems| Error::invalid(format!("the manifest of {name} cannot be used"), problems);
        let (loader, root) = Loader::read(file, text).map_err(refused)?;
        let loaded = {
            let source = loader.root(&root);
            let spec = spec::load(&source, name);
            (spec, manifest(&source))
        };
        let (compiler, problems) = loader.into_parts();
        match loaded {
            (Ok(spec), Ok(manifest)) if problems.is_empty() => {
                Ok(Self { spec, manifest: Arc::new(manifest), engine: Arc::new(compiler.finish()) })
            }
            _ => Err(refused(problems)),
        }
    }
}

impl Integration for ManifestIntegration {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn connect(&self, link: Link) -> Result<Arc<dyn Connector>> {
        let settings = link.settings.expose().clone();
        let problems = settings::check(&self.spec.settings_schema, &settings);
        if !problems.is_empty() {
            return Err(Error::invalid(format!("the settings of {} are not complete", self.spec.name), problems));
        }
        let session = Arc::new(Session::new(Arc::clone(&self.engine), link, settings));
        Ok(Arc::new(ManifestConnector { manifest: Arc::clone(&self.manifest), session }))
    }
}

/// The streams and what else stands at the top.
fn manifest(source: &View<'_>) -> Take<Manifest> {
    let refused = source.refuse(&["dynamic_streams", "stream_groups", "api_budget"]);
    let checked = check(source);
    let concurrency = match source.child("concurrency_level") {
        None => Ok((None, None)),
        Some(level) if level.kind() == "ConcurrencyLevel" => {
            level.template("default_concurrency").and_then(|wanted| Ok((wanted, level.template("max_concurrency")?)))
        }
        Some(level) => Err(level.unsupported("concurrency level")),
    };
    let streams: Vec<Take<Arc<Stream>>> = source.children("streams").iter().map(Stream::load).collect();
    let streams = streams.into_iter().collect::<Take<Vec<_>>>()?;
    refused?;
    if streams.is_empty() {
        return Err(source.problem("the manifest has no `streams`"));
    }
    unique(source, &streams)?;
    write::check_references(source, &streams)?;
    Ok(Manifest { streams, checked: checked?, concurrency: concurrency? })
}

/// Two streams of one name would be read into one.
fn unique(source: &View<'_>, streams: &[Arc<Stream>]) -> Take<()> {
    let mut names = BTreeSet::new();
    let twice: Vec<_> =
        streams.iter().filter(|stream| !names.insert(&stream.name)).map(|stream| &stream.name).collect();
    match twice.as_slice() {
        [] => Ok(()),
        _ => Err(source.problem(format!("several streams have the same name: {twice:?}"))),
    }
}

fn check(source: &View<'_>) -> Take<Vec<String>> {
    let check = source.required_child("check")?;
    if check.kind() != "CheckStream" {
        return Err(check.unsupported("check"));
    }
    check.refuse(&["dynamic_streams_check_configs", "config_overrides"])?;
    Ok(check.texts("stream_names")?.unwrap_or_default())
}
