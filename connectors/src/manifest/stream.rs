//! `DeclarativeStream`: one stream of the manifest.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    attachments::Attachments,
    components::Plugged,
    cursor::{Cursor, CursorSpec, Progress},
    delegate::Delegate,
    extract::Plan,
    load::{Loaded, Skip, Take, View},
    properties::QueryProperties,
    retriever::Retriever,
    schema::Schema,
    session::Session,
    time::Moment,
    transform::Transformation,
    write::Writing,
    yaml::Data,
};
use crate::{Deletions, Result, StateMigration, StreamSpec};

/// A stream as the manifest writes it.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) primary_key: Vec<Vec<String>>,
    pub(crate) retriever: Retriever,
    pub(crate) cursor: Option<CursorSpec>,
    pub(crate) transformations: Vec<Transformation>,
    pub(crate) writing: Option<Writing>,
    pub(crate) attachments: Option<Attachments>,
    /// What makes a state of another form one of today's.
    migrations: Vec<Plugged<dyn StateMigration>>,
    /// What reads the stream once it has a state.
    pub(crate) delegate: Option<Delegate>,
    schema: Schema,
    deletions: Deletions,
}

/// A stream with the settings filled in.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) cursor: Option<Cursor>,
    pub(crate) plan: Plan,
    /// The schema that values are normalised to.
    pub(crate) schema: Arc<Value>,
}

impl Stream {
    /// Reads the component; the same node gives the same stream.
    pub(crate) fn load(view: &View<'_>) -> Take<Arc<Self>> {
        let loader = view.loader();
        let is_shared = view.is_free_of_parameters();
        if is_shared && let Some(known) = loader.known(view.node()) {
            return match &*known {
                Loaded::Open => Err(view.problem("this stream is its own ancestor")),
                Loaded::Done(stream) => stream.clone().ok_or(Skip),
            };
        }
        if is_shared {
            loader.remember(view.node(), Loaded::Open);
        }
        let stream = Self::read(view).map(Arc::new);
        if is_shared {
            loader.remember(view.node(), Loaded::Done(stream.as_ref().ok().cloned()));
        }
        stream
    }

    /// Reads the component anew.
    pub(crate) fn read(view: &View<'_>) -> Take<Self> {
        if view.kind() == "StateDelegatingStream" {
            return Delegate::load(view);
        }
        if view.kind() != "DeclarativeStream" {
            return Err(view.unsupported("stream"));
        }
        let migrations: Vec<_> = view.children("state_migrations").iter().map(load_migration).collect();
        let name = view.required_text("name");
        let key = primary_key(view);
        let schema = Schema::load(view);
        let (retriever, cursor) = (Retriever::load(view), CursorSpec::load(view));
        let transformations: Vec<_> = view.children("transformations").iter().map(Transformation::load).collect();
        let (deletions, writing) = (deletions(view), Writing::load(view, !transformations.is_empty()));
        let attachments = Attachments::load(view);
        let migrations = migrations.into_iter().collect::<Take<Vec<_>>>()?;
        Ok(Self {
            name: name?,
            primary_key: key?,
            retriever: retriever?,
            cursor: cursor?,
            transformations: transformations.into_iter().collect::<Take<_>>()?,
            schema: schema?,
            deletions: deletions?,
            writing: writing?,
            attachments: attachments?,
            migrations: migrations.into_iter().flatten().collect(),
            delegate: None,
        })
    }

    /// A retriever alone, for what is read before there are streams.
    pub(crate) fn bare(name: &str, retriever: Retriever) -> Self {
        Self {
            name: name.to_owned(),
            primary_key: Vec::new(),
            retriever,
            cursor: None,
            transformations: Vec::new(),
            writing: None,
            attachments: None,
            migrations: Vec::new(),
            delegate: None,
            schema: Schema::Inline(Arc::new(json!({}))),
            deletions: Deletions::Absence,
        }
    }

    /// The stream with the settings filled in.
    ///
    /// # Errors
    /// As for templates, and for a schema that the product describes.
    pub(crate) async fn bound(&self, session: &Arc<Session>) -> Result<Arc<Bound>> {
        let cursor = self.cursor.as_ref().map(|cursor| cursor.bind(session, None)).transpose()?;
        let plan = Plan::of(self, session, cursor.as_ref())?;
        let schema = match self.schema.written() {
            Some(schema) => Arc::clone(schema),
            None if self.needs_schema() => self.schema.resolve(session, &self.name).await?,
            None => Arc::default(),
        };
        Ok(Arc::new(Bound { cursor, plan, schema }))
    }

    /// A state in the form of today.
    ///
    /// # Errors
    /// Those of the embedder's code.
    pub(crate) fn migrated(&self, session: &Session, state: Option<Value>) -> Result<Option<Value>> {
        let Some(state) = state else { return Ok(None) };
        let settings = session.own_settings();
        self.migrations.iter().try_fold(state, |state, step| step.part.migrate(state, &settings)).map(Some)
    }

    /// True where reading depends on the schema.
    fn needs_schema(&self) -> bool {
        let properties = &self.retriever.requester.properties;
        self.retriever.selector.normalizes || properties.as_ref().is_some_and(QueryProperties::follows_schema)
    }

    /// What is remembered of the stream, from `state`; `None` for streams that have no state.
    ///
    /// # Errors
    /// As for templates; `Invalid` for a state that does not fit.
    pub(crate) fn progress(
        &self,
        session: &Session,
        state: Option<&Value>,
        end: Option<Moment>,
    ) -> Result<Option<Progress>> {
        let Some(spec) = &self.cursor else { return Ok(None) };
        let cursor = spec.bind(session, end)?;
        let has_partitions = !self.retriever.router.is_single();
        Progress::new(cursor, state, has_partitions, spec.is_global).map(Some)
    }

    /// What the catalog says of it.
    ///
    /// # Errors
    /// As for templates, and for a schema that the product describes.
    pub(crate) async fn describe(&self, session: &Arc<Session>) -> Result<StreamSpec> {
        let field =
            self.cursor.as_ref().map(|cursor| cursor.field.text(&session.engine, session.scope())).transpose()?;
        let mut parents: Vec<String> = Vec::new();
        for parent in self.retriever.router.parents() {
            if !parents.contains(&parent.stream.name) {
                parents.push(parent.stream.name.clone());
            }
        }
        Ok(StreamSpec {
            name: self.name.clone(),
            primary_key: self.primary_key.clone(),
            cursor_field: field.into_iter().collect(),
            json_schema: Value::clone(&*self.schema.resolve(session, &self.name).await?),
            parents,
            deletions: self.deletions.clone(),
            write: self.writing.as_ref().map(Writing::describe),
        })
    }

    /// The field that marks deleted records.
    pub(crate) fn deletion_path(&self) -> Option<Vec<String>> {
        match &self.deletions {
            Deletions::Marked { field } => Some(field.clone()),
            Deletions::Absence | Deletions::Never => None,
        }
    }
}

/// Old states of other programs are the only thing that the language's own migration changes; none of them gets here.
fn load_migration(view: &View<'_>) -> Take<Option<Plugged<dyn StateMigration>>> {
    match view.kind() {
        _ if view.is_custom() => view.plug_in("state migration", &view.loader().components.migrations).map(Some),
        "LegacyToPerPartitionStateMigration" => Ok(None),
        _ => Err(view.unsupported("state migration")),
    }
}

/// A name, a list of names, or a list of paths.
pub(crate) fn primary_key(view: &View<'_>) -> Take<Vec<Vec<String>>> {
    let Some(node) = view.field("primary_key") else { return Ok(Vec::new()) };
    let wrong = || view.problem("`primary_key` must be a name, a list of names, or a list of paths");
    let text = |node: &Arc<super::yaml::Node>| node.as_text().map(|text| text.to_string());
    match &node.data {
        Data::Text(name) if name.is_empty() => Ok(Vec::new()),
        Data::Text(name) => Ok(vec![vec![name.to_string()]]),
        Data::List(parts) => {
            let path = |part: &Arc<super::yaml::Node>| match &part.data {
                Data::List(steps) if !steps.is_empty() => steps.iter().map(text).collect::<Option<Vec<_>>>(),
                _ => text(part).map(|name| vec![name]),
            };
            parts.iter().map(|part| path(part).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}

/// `x-listbackup: {deletions: …}`: how a deletion in the product shows.
fn deletions(view: &View<'_>) -> Take<Deletions> {
    let Some(own) = view.child("x-listbackup") else { return Ok(Deletions::Absence) };
    let Some(node) = own.field("deletions") else { return Ok(Deletions::Absence) };
    serde_json::from_value(node.to_json()).map_err(|error| {
        view.problem(format!(
            "`x-listbackup.deletions` must be {{kind: absence | never | marked, field: […]}}: {error}"
        ))
    })
}
