//! `class_name`: parts of a manifest whose code an embedder brings as Rust types.

use std::{collections::HashMap, fmt, sync::Arc};

use serde_json::Value;

use super::load::{Take, View};
use crate::{
    Authenticator, BackoffStrategy, BodyDecoder, PaginationStrategy, PartitionRouter, RecordExtractor, RecordFilter,
    RecordTransformation, Result, SchemaSource, StateMigration,
};

/// Makes a component of what the manifest writes: its fields as JSON, templates as they are, with `$parameters` that hold those
/// of the components around it too.
pub type Make<T> = Arc<dyn Fn(&Value) -> Result<Arc<T>> + Send + Sync>;

/// Components by class name. A name counts for every module it may stand in: `MyExtractor` for
/// `source_shop.components.MyExtractor`, unless that is known by its whole name.
#[derive(Clone, Default)]
pub struct Components {
    pub(super) authenticators: HashMap<String, Make<dyn Authenticator>>,
    pub(super) backoffs: HashMap<String, Make<dyn BackoffStrategy>>,
    pub(super) decoders: HashMap<String, Make<dyn BodyDecoder>>,
    pub(super) extractors: HashMap<String, Make<dyn RecordExtractor>>,
    pub(super) filters: HashMap<String, Make<dyn RecordFilter>>,
    pub(super) migrations: HashMap<String, Make<dyn StateMigration>>,
    pub(super) paginations: HashMap<String, Make<dyn PaginationStrategy>>,
    pub(super) routers: HashMap<String, Make<dyn PartitionRouter>>,
    pub(super) schemas: HashMap<String, Make<dyn SchemaSource>>,
    pub(super) transformations: HashMap<String, Make<dyn RecordTransformation>>,
}

impl Components {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a `CustomAuthenticator`.
    #[must_use]
    pub fn authenticator(mut self, class_name: &str, make: Make<dyn Authenticator>) -> Self {
        self.authenticators.insert(class_name.to_owned(), make);
        self
    }

    /// With a `CustomBackoffStrategy`.
    #[must_use]
    pub fn backoff(mut self, class_name: &str, make: Make<dyn BackoffStrategy>) -> Self {
        self.backoffs.insert(class_name.to_owned(), make);
        self
    }

    /// With a `CustomDecoder`.
    #[must_use]
    pub fn decoder(mut self, class_name: &str, make: Make<dyn BodyDecoder>) -> Self {
        self.decoders.insert(class_name.to_owned(), make);
        self
    }

    /// With a `CustomRecordExtractor`.
    #[must_use]
    pub fn extractor(mut self, class_name: &str, make: Make<dyn RecordExtractor>) -> Self {
        self.extractors.insert(class_name.to_owned(), make);
        self
    }

    /// With a `CustomRecordFilter`.
    #[must_use]
    pub fn filter(mut self, class_name: &str, make: Make<dyn RecordFilter>) -> Self {
        self.filters.insert(class_name.to_owned(), make);
        self
    }

    /// With a `CustomStateMigration`.
    #[must_use]
    pub fn migration(mut self, class_name: &str, make: Make<dyn StateMigration>) -> Self {
        self.migrations.insert(class_name.to_owned(), make);
        self
    }

    /// With a `CustomPaginationStrategy`.
    #[must_use]
    pub fn pagination(mut self, class_name: &str, make: Make<dyn PaginationStrategy>) -> Self {
        self.paginations.insert(class_name.to_owned(), make);
        self
    }

    /// With a `CustomPartitionRouter`.
    #[must_use]
    pub fn router(mut self, class_name: &str, make: Make<dyn PartitionRouter>) -> Self {
        self.routers.insert(class_name.to_owned(), make);
        self
    }

    /// With a `CustomSchemaLoader`.
    #[must_use]
    pub fn schema(mut self, class_name: &str, make: Make<dyn SchemaSource>) -> Self {
        self.schemas.insert(class_name.to_owned(), make);
        self
    }

    /// With a `CustomTransformation`.
    #[must_use]
    pub fn transformation(mut self, class_name: &str, make: Make<dyn RecordTransformation>) -> Self {
        self.transformations.insert(class_name.to_owned(), make);
        self
    }
}

impl fmt::Debug for Components {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Components")
    }
}

/// A component that was made.
pub(crate) struct Plugged<T: ?Sized> {
    class_name: Arc<str>,
    pub(crate) part: Arc<T>,
}

impl<T: ?Sized> Clone for Plugged<T> {
    fn clone(&self) -> Self {
        Self { class_name: Arc::clone(&self.class_name), part: Arc::clone(&self.part) }
    }
}

impl<T: ?Sized> fmt::Debug for Plugged<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.class_name)
    }
}

impl View<'_> {
    /// True for a component with code of its own.
    pub(crate) fn is_custom(&self) -> bool {
        self.node().get("class_name").is_some()
    }

    /// The component from `known`; what is not known is noted by its name.
    pub(crate) fn plug_in<T: ?Sized>(&self, what: &str, known: &HashMap<String, Make<T>>) -> Take<Plugged<T>> {
        let class_name = self.required_text("class_name")?;
        let short = class_name.rsplit('.').next().unwrap_or_default();
        let Some(make) = known.get(&class_name).or_else(|| known.get(short)) else {
            return Err(self.unsupported(what));
        };
        match make(&self.options()) {
            Ok(part) => Ok(Plugged { class_name: class_name.into(), part }),
            Err(error) => Err(self.problem(format!("`{class_name}` cannot be made: {error}"))),
        }
    }
}
