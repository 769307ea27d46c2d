//! Which product a command is about: an integration of ours or a manifest file, with its settings.

use std::{fs, path::PathBuf, sync::Arc};

use clap::Args;
use listbackup_engine::{
    Error, ErrorKind, Result,
    connectors::{
        Connector, Integration, Link, Settings,
        http::{AddressGuard, HttpClientBuilder, Wire},
        manifest,
        oauth::MemoryCredentials,
        registry::Registry,
    },
};
use serde_json::Value;

use super::{output, settings};

/// Which product, with which settings.
#[derive(Args, Clone, Debug)]
#[group(id = "what")]
#[command(group = clap::ArgGroup::new("product").required(true))]
pub struct Product {
    /// An integration that ships with the program
    #[arg(long, value_name = "NAME", group = "product")]
    integration: Option<String>,
    /// A low-code manifest (YAML)
    #[arg(long, value_name = "FILE", group = "product")]
    manifest: Option<PathBuf>,
    /// Settings: a JSON object
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// One setting; repeat for more. Nested names are joined by a dot: credentials.api_key=…
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// A product that was found and whose settings were read.
pub struct Chosen {
    /// The integration's name; of a manifest, its file's name without the ending.
    pub name: String,
    /// The text of the manifest file, when one was given.
    pub manifest: Option<String>,
    /// What it is.
    pub integration: Arc<dyn Integration>,
    /// The settings, not checked yet.
    pub settings: Value,
}

impl Product {
    /// Finds the product and reads its settings. Nothing is sent or written.
    ///
    /// # Errors
    /// `Invalid` for a file that cannot be read, a manifest that cannot be used (with every problem in it), a name that is
    /// not known, settings that cannot be read.
    pub fn choose(&self) -> Result<Chosen> {
        let (name, manifest, integration) = match &self.manifest {
            Some(path) => from_file(path)?,
            None => ours(self.integration.as_deref().unwrap_or_default())?,
        };
        let settings = settings::read(self.config.as_deref(), &self.set, &integration.spec().settings_schema)?;
        Ok(Chosen { name, manifest, integration, settings })
    }
}

impl Chosen {
    /// A connector with these settings, as a person's own command may use it.
    ///
    /// # Errors
    /// `Invalid` with every setting that is missing or wrong. No request is sent.
    pub fn connect(&self) -> Result<Arc<dyn Connector>> {
        self.connect_over(Wire::default())
    }

    /// The same, with answers that come from elsewhere or are written down.
    ///
    /// # Errors
    /// As for [`Chosen::connect`].
    pub fn connect_over(&self, wire: Wire) -> Result<Arc<dyn Connector>> {
        let link = Link {
            settings: Settings::new(self.settings.clone()),
            http: HttpClientBuilder { wire, ..HttpClientBuilder::new(AddressGuard::person()) }.build()?,
            credentials: Arc::new(MemoryCredentials::empty()),
        };
        Ok(self.integration.connect(link)?)
    }
}

type Found = (String, Option<String>, Arc<dyn Integration>);

fn from_file(path: &PathBuf) -> Result<Found> {
    let text = fs::read_to_string(path).map_err(|error| {
        Error::new(ErrorKind::Invalid, format!("the manifest cannot be read: {error}")).with("file", path.display())
    })?;
    let name = path.file_stem().map_or_else(|| "manifest".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let integration = manifest::parse(&name, &path.display().to_string(), &text)?;
    for (stream, problems) in integration.broken() {
        let problems: Vec<_> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
        output::note(&format!("warning: the stream {stream} cannot be read, the others can:{}", problems.concat()));
    }
    Ok((name, Some(text), Arc::new(integration)))
}

fn ours(name: &str) -> Result<Found> {
    let registry = Registry::ours()?;
    let integration = registry.get(name).ok_or_else(|| {
        let known: Vec<_> = registry.list().iter().map(|integration| integration.spec().name.clone()).collect();
        let message = format!("there is no such integration; there are: {}", known.join(", "));
        Error::new(ErrorKind::Invalid, message).with("integration", name)
    })?;
    Ok((name.to_owned(), None, integration))
}
