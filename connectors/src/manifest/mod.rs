//! Runs connectors written in the published low-code manifest language, unmodified.
//!
//! A manifest is loaded once ([`ManifestIntegration::parse`]): references, parameters, templates and types are checked, and every
//! problem is told with its line and its path in the tree. Bound to a person's settings it is a [`crate::Connector`].
//! Pages stay as they were received: records are slices of them, unless a stream changes its records.

mod answer;
mod attachments;
mod call_rate;
mod check;
pub mod compat;
mod components;
mod connector;
mod cursor;
mod decode;
mod delegate;
mod dynamic;
mod expander;
pub(crate) mod extract;
mod extraction;
mod glob;
mod grouping;
mod groups;
mod headers;
mod job;
mod json;
mod lists;
mod load;
mod normalization;
mod normalize;
mod paginate;
mod partition;
mod properties;
mod remove;
mod request;
mod reshape;
mod retriever;
mod run;
mod schema;
mod selector;
mod session;
mod settings;
mod slice;
mod spec;
mod stream;
mod sweep;
mod template;
mod time;
mod told_error;
mod transform;
mod values;
mod write;
mod yaml;

use std::{collections::BTreeSet, sync::Arc};

pub use self::components::{Components, Make};
use self::{
    call_rate::CallRates,
    check::Check,
    connector::{Listed, Manifest, ManifestConnector},
    dynamic::DynamicStreams,
    groups::Groups,
    load::{Loader, Skip, Take, View},
    normalization::Normalization,
    session::Session,
    template::{Engine, Template},
};
use crate::{
    Connector, Error, Integration, Link, Problem, Result, Spec,
    http::{RateBudget, tape::Secrets},
};

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
    normalization: Normalization,
    engine: Arc<Engine>,
    /// The addresses that requests go to by the manifest's or the settings' own word.
    declared: Vec<Template>,
}

impl ManifestIntegration {
    /// Loads a manifest. `name` is the integration's name in URLs and on the command line; problems are told as places in
    /// `file`, such as `shop.yaml:12:5`.
    ///
    /// # Errors
    /// `Invalid` with every problem: what is not YAML, what is missing, what is not supported, templates that cannot work. A
    /// problem of one stream among sound ones is that stream's alone: see [`ManifestIntegration::broken`].
    pub fn parse(name: &str, file: &str, text: &str) -> Result<Self> {
        Self::parse_with(name, file, text, &Components::new())
    }

    /// What is wrong with single streams, each with its name. They are in the catalog, and reading them fails.
    pub fn broken(&self) -> impl Iterator<Item = (&str, &[Problem])> {
        let entries = self.manifest.streams.iter().map(|listed| &listed.stream);
        entries.filter(|entry| entry.sound().is_none()).map(|entry| (entry.name(), entry.problems()))
    }

    /// Loads a manifest some of whose components (`class_name`) are Rust types; see `connectors/README.md`.
    ///
    /// # Errors
    /// As for [`ManifestIntegration::parse`]; a component that `components` does not have is told by its name.
    pub fn parse_with(name: &str, file: &str, text: &str, components: &Components) -> Result<Self> {
        let refused = |problems| Error::invalid(format!("the manifest of {name} cannot be used"), problems);
        let (loader, root) = Loader::read(file, text).map_err(refused)?;
        let loader = loader.with(components);
        let loaded = {
            let source = loader.root(&root);
            let spec = spec::load(&source, name);
            (spec, manifest(&source), Normalization::load(&source))
        };
        let declared = loader.declared();
        let (compiler, problems) = loader.into_parts();
        match loaded {
            (Ok(spec), Ok(manifest), Ok(normalization)) if problems.is_empty() => {
                let (manifest, engine) = (Arc::new(manifest), Arc::new(compiler.finish()));
                Ok(Self { spec, manifest, normalization, engine, declared })
            }
            _ => Err(refused(problems)),
        }
    }
}

impl Integration for ManifestIntegration {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn streams(&self) -> Vec<String> {
        self.manifest.streams.iter().map(|listed| listed.stream.name().to_owned()).collect()
    }

    fn connect(&self, link: Link) -> Result<Arc<dyn Connector>> {
        let secrets = Secrets::of_connection(&self.spec.settings_schema, link.settings.expose(), &link.http);
        self.bind(link).map_err(|error| error.reworded(|text| secrets.hide(text)))
    }
}

impl ManifestIntegration {
    fn bind(&self, link: Link) -> Result<Arc<dyn Connector>> {
        let settings = self.normalization.migrate(&self.engine, link.settings.expose().clone())?;
        let problems = settings::check(&self.spec.settings_schema, &settings);
        if !problems.is_empty() {
            return Err(Error::invalid(format!("the settings of {} are not complete", self.spec.name), problems));
        }
        let settings = self.normalization.finish(&self.engine, settings)?;
        let mut session = Session::new(Arc::clone(&self.engine), link, settings);
        session.sign_in_by(&self.spec.sign_in);
        session.hide(&self.spec.settings_schema);
        session.declare(&self.declared);
        if let Some(rates) = &self.manifest.call_rates {
            let credential = session.http.budget().cloned().unwrap_or_else(RateBudget::by_server_hints);
            session.keep_within(rates.bind(&session.engine, session.scope(), &credential)?);
        }
        if let Some(count) = &self.manifest.jobs_max {
            let text = count.text(&session.engine, session.scope())?;
            session.allow_jobs(text.parse().unwrap_or(1));
        }
        let session = Arc::new(session);
        Ok(Arc::new(ManifestConnector::new(Arc::clone(&self.manifest), session)?))
    }
}

/// The streams and what else stands at the top.
fn manifest(source: &View<'_>) -> Take<Manifest> {
    let groups = Groups::load(source);
    let checked = Check::load(source);
    let dynamic = DynamicStreams::load_all(source);
    let concurrency = match source.child("concurrency_level") {
        None => Ok((None, None)),
        Some(level) if level.kind() == "ConcurrencyLevel" => {
            level.template("default_concurrency").and_then(|wanted| Ok((wanted, level.template("max_concurrency")?)))
        }
        Some(level) => Err(level.unsupported("concurrency level")),
    };
    let streams: Vec<_> = source.children("streams").iter().map(Listed::load).collect();
    let streams: Vec<_> = streams.into_iter().collect::<Take<Vec<_>>>()?.into_iter().flatten().collect();
    let dynamic = dynamic?;
    if streams.is_empty() && dynamic.is_empty() {
        return Err(source.problem("the manifest has no `streams`"));
    }
    unique(source, &streams)?;
    let all: Vec<_> = streams.iter().filter_map(|listed| listed.stream.sound().cloned()).collect();
    if all.is_empty() && dynamic.is_empty() {
        source.loader().take_back();
        return Err(Skip);
    }
    let broken: Vec<_> =
        streams.iter().filter(|listed| listed.stream.sound().is_none()).map(|it| it.stream.name()).collect();
    write::check_references(source, &all, &broken)?;
    let call_rates = CallRates::load(source);
    let jobs_max = source.template("max_concurrent_async_job_count")?;
    Ok(Manifest {
        streams,
        dynamic,
        checked: checked?,
        concurrency: concurrency?,
        jobs_max,
        call_rates: call_rates?,
        groups: groups?,
    })
}

/// Two streams of one name would be read into one.
fn unique(source: &View<'_>, streams: &[Listed]) -> Take<()> {
    let mut names = BTreeSet::new();
    let certain = streams.iter().filter(|listed| listed.condition.is_none()).map(|listed| listed.stream.name());
    let twice: Vec<_> = certain.filter(|name| !names.insert(*name)).collect();
    match twice.as_slice() {
        [] => Ok(()),
        _ => Err(source.problem(format!("several streams have the same name: {twice:?}"))),
    }
}

#[cfg(test)]
mod tests;
