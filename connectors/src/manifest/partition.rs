//! Partitions: lists of values, records of a parent stream, and products of both.

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use serde_json::{Map, Value};
use tokio::sync::mpsc::Sender;

use super::{
    components::Plugged,
    cursor::{named_from_json, named_json},
    grouping::{Grouping, Union},
    json,
    lists::{ParentSlices, Values},
    load::{Take, View, scalar_text},
    request::options::{Injections, RequestOption},
    retriever::Reader,
    session::Session,
    slice::{Slice, product},
    stream::Stream,
    template::{Python, Template},
    yaml::Data,
};
use crate::{Error, ErrorKind, FailedItem, PartitionRouter, Result};

/// The further field of a partition that holds the first page of its records.
pub(crate) const FIRST_PAGE: &str = "child_response";

/// How a stream is divided.
#[derive(Debug, Default)]
pub(crate) enum Router {
    /// Not at all.
    #[default]
    Single,
    /// By the values of a list.
    List { values: Values, field: Template, option: Option<RequestOption> },
    /// By the records of other streams.
    Substream(Vec<Parent>),
    /// By every combination of several divisions.
    Product(Vec<Router>),
    /// By several partitions at a time.
    Grouped(Box<Grouping>),
    /// As an embedder's code says.
    Custom { code: Plugged<dyn PartitionRouter>, parents: Vec<Parent> },
    /// By the partitions of several routers.
    United(Union),
}

/// `ParentStreamConfig`.
#[derive(Debug)]
pub(crate) struct Parent {
    pub(crate) stream: Arc<Stream>,
    key: Template,
    field: Template,
    extra: Vec<Vec<Template>>,
    option: Option<RequestOption>,
    /// Where a parent record holds the first page of its children.
    lazy: Option<Vec<Template>>,
    /// The parent is read from its own state, which is kept in the child's.
    is_incremental: bool,
}

/// What a search for partitions found out about the parents.
#[derive(Debug, Default)]
pub(crate) struct Parents {
    /// States of those that are read incrementally, by name.
    pub(crate) states: Map<String, Value>,
    /// Parts of them that the product refused: their children are not read either.
    pub(crate) unread: Vec<FailedItem>,
}

impl Parents {
    /// Adds what another search found out.
    pub(crate) fn add(&mut self, other: Self) {
        self.states.extend(other.states);
        self.unread.extend(other.unread);
    }
}

impl Router {
    /// Reads the component in the field called `partition_router`.
    pub(crate) fn load(retriever: &View<'_>) -> Take<Self> {
        let is_list = retriever.field("partition_router").is_some_and(|node| matches!(node.data, Data::List(_)));
        let views = retriever.children("partition_router");
        let mut routers = views.iter().map(Self::read).collect::<Vec<_>>().into_iter().collect::<Take<Vec<_>>>()?;
        Ok(match (routers.len(), is_list) {
            (0, _) => Self::Single,
            (1, false) => routers.remove(0),
            _ => Self::Product(routers),
        })
    }

    /// Reads one component.
    pub(crate) fn read(view: &View<'_>) -> Take<Self> {
        match view.kind() {
            _ if view.is_custom() => {
                let parents: Vec<_> = view.children("parent_stream_configs").iter().map(Parent::load).collect();
                let code = view.plug_in("partition router", &view.loader().components.routers)?;
                Ok(Self::Custom { code, parents: parents.into_iter().collect::<Take<_>>()? })
            }
            "GroupingPartitionRouter" => Grouping::load(view).map(|grouping| Self::Grouped(Box::new(grouping))),
            "UnionPartitionRouter" => Union::load(view).map(Self::United),
            "ListPartitionRouter" => Self::list(view),
            "SubstreamPartitionRouter" => {
                let parents: Vec<_> = view.children("parent_stream_configs").iter().map(Parent::load).collect();
                let parents = parents.into_iter().collect::<Take<Vec<_>>>()?;
                if parents.is_empty() {
                    Err(view.problem("a SubstreamPartitionRouter needs `parent_stream_configs`"))
                } else {
                    Ok(Self::Substream(parents))
                }
            }
            _ => Err(view.unsupported("partition router")),
        }
    }

    fn list(view: &View<'_>) -> Take<Self> {
        let values = Values::load(view)?;
        let option = view.child("request_option").map(|option| RequestOption::load(&option)).transpose()?;
        Ok(Self::List { values, field: view.required_template("cursor_field")?, option })
    }

    /// True when there is nothing to divide by.
    pub(crate) fn is_single(&self) -> bool {
        matches!(self, Self::Single)
    }

    /// The parent streams, nearest first.
    pub(crate) fn parents(&self) -> Vec<&Parent> {
        match self {
            Self::Single | Self::List { .. } => Vec::new(),
            Self::Substream(parents) => parents.iter().collect(),
            Self::Product(routers) => routers.iter().flat_map(Self::parents).collect(),
            Self::Custom { parents, .. } => parents.iter().collect(),
            Self::Grouped(grouping) => grouping.inner.parents(),
            Self::United(union) => union.routers.iter().flat_map(Self::parents).collect(),
        }
    }

    /// Puts a slice's partition into a request.
    ///
    /// # Errors
    /// As for templates.
    pub(crate) fn inject(&self, session: &Session, slice: &Slice, into: &mut Injections) -> Result<()> {
        let mut one = |field: &Template, option: &Option<RequestOption>| -> Result<()> {
            let Some(option) = option else { return Ok(()) };
            let name = field.text(&session.engine, session.scope())?;
            match slice.get(&name).filter(|value| value.is_truthy()) {
                Some(value) => option.inject(&session.engine, session.scope(), value.clone(), into),
                None => Ok(()),
            }
        };
        match self {
            // What is put together has no place of its own in a request: templates take it from the slice.
            Self::Single | Self::Grouped(_) | Self::United(_) => Ok(()),
            Self::List { field, option, .. } => one(field, option),
            Self::Substream(parents) | Self::Custom { parents, .. } => {
                parents.iter().try_for_each(|parent| one(&parent.field, &parent.option))
            }
            Self::Product(routers) => routers.iter().rev().try_for_each(|router| router.inject(session, slice, into)),
        }
    }

    /// Finds all partitions and sends each to `to`. `state` is the stream's own state.
    ///
    /// # Errors
    /// As for requests, when a parent cannot be read.
    pub(crate) fn partitions<'a>(
        &'a self,
        session: &'a Arc<Session>,
        state: Option<&'a Value>,
        to: &'a Sender<Slice>,
    ) -> BoxFuture<'a, Result<Parents>> {
        async move {
            let mut found = Parents::default();
            match self {
                Self::Single => hand_over(to, Slice::default()).await?,
                Self::List { values, field, .. } => {
                    let name = field.text(&session.engine, session.scope())?;
                    for value in values.evaluate(session)? {
                        hand_over(to, Slice { partition: vec![(name.clone(), value)], ..Slice::default() }).await?;
                    }
                }
                Self::Substream(parents) => {
                    for parent in parents {
                        found.add(parent.partitions(session, state, to).await?);
                    }
                }
                Self::Custom { code, parents } => {
                    let mut rows = Vec::new();
                    for parent in parents {
                        let (list, more) =
                            collected(|to| async move { parent.partitions(session, state, &to).await }).await?;
                        rows.extend(list.iter().filter_map(|slice| named_json(&slice.partition).as_object().cloned()));
                        found.add(more);
                    }
                    for partition in code.part.partitions(rows, &session.own_settings())? {
                        let partition = named_from_json(&Value::Object(partition));
                        hand_over(to, Slice { partition, ..Slice::default() }).await?;
                    }
                }
                Self::Grouped(grouping) => found.add(grouping.partitions(session, state, to).await?),
                Self::United(union) => found.add(union.partitions(session, state, to).await?),
                Self::Product(routers) => {
                    let mut lists = Vec::with_capacity(routers.len());
                    for router in routers {
                        let (list, parents) = router.collect(session, state).await?;
                        lists.push(list);
                        // The states of parents are not kept in a product.
                        found.unread.extend(parents.unread);
                    }
                    for combination in product(&lists) {
                        hand_over(to, combination).await?;
                    }
                }
            }
            Ok(found)
        }
        .boxed()
    }

    /// All partitions at once.
    async fn collect(&self, session: &Arc<Session>, state: Option<&Value>) -> Result<(Vec<Slice>, Parents)> {
        collected(|to| async move { self.partitions(session, state, &to).await }).await
    }
}

/// Everything that `search` hands over.
async fn collected<F: Future<Output = Result<Parents>>>(
    search: impl FnOnce(Sender<Slice>) -> F,
) -> Result<(Vec<Slice>, Parents)> {
    let (to, mut from) = tokio::sync::mpsc::channel(64);
    let found = async {
        let mut all = Vec::new();
        while let Some(partition) = from.recv().await {
            all.push(partition);
        }
        all
    };
    let (parents, all) = tokio::join!(search(to), found);
    Ok((all, parents?))
}

/// Hands a partition to whoever reads it.
pub(crate) async fn hand_over(to: &Sender<Slice>, partition: Slice) -> Result<()> {
    to.send(partition).await.map_err(|_| Error::new(ErrorKind::Cancelled, "nobody reads the partitions any more"))
}

impl Parent {
    fn load(view: &View<'_>) -> Take<Self> {
        let stream = Stream::load(&view.required_child("stream")?);
        let option = view.child("request_option").map(|option| RequestOption::load(&option)).transpose();
        let mut extra = Vec::new();
        if let Some(node) = view.field("extra_fields") {
            let Data::List(paths) = &node.data else {
                return Err(view.problem("`extra_fields` must be a list of paths"));
            };
            for path in paths {
                let Data::List(steps) = &path.data else {
                    return Err(view.problem("`extra_fields` must be a list of paths"));
                };
                let steps = steps.iter().map(|step| {
                    let text = scalar_text(step)
                        .ok_or_else(|| view.problem("a path in `extra_fields` must be a list of texts"))?;
                    view.template_of(&text, step, "extra_fields")
                });
                extra.push(steps.collect::<Take<Vec<_>>>()?);
            }
        }
        Ok(Self {
            stream: stream?,
            key: view.required_template("parent_key")?,
            field: view.required_template("partition_field")?,
            extra,
            option: option?,
            lazy: view.templates("lazy_read_pointer")?.filter(|path| !path.is_empty()),
            is_incremental: view.flag("incremental_dependency")?.unwrap_or(false),
        })
    }

    /// One partition a record of the parent.
    async fn partitions(&self, session: &Arc<Session>, state: Option<&Value>, to: &Sender<Slice>) -> Result<Parents> {
        let text = |template: &Template| template.text(&session.engine, session.scope());
        let key: Vec<String> = text(&self.key)?.split('/').map(str::to_owned).collect();
        let field = text(&self.field)?;
        let extra =
            self.extra.iter().map(|path| path.iter().map(text).collect()).collect::<Result<Vec<Vec<String>>>>()?;
        let own = state.filter(|_| self.is_incremental);
        let parent_state = own.map(|state| self.state_of(session, state)).transpose()?.flatten();
        // What a parent holds is read from it the first time only, as in the reference.
        let lazy = self
            .lazy
            .as_ref()
            .filter(|_| state.is_none())
            .map(|path| path.iter().map(text).collect::<Result<Vec<_>>>())
            .transpose()?;
        let (stream, parent_state) = self.stream.for_state(session, parent_state)?;
        let (mut slices, mut found) = Self::slices(&stream, session, parent_state.as_ref()).await?;
        while let Some(slice) = slices.next() {
            let mut reader = Reader::new(Arc::clone(&stream), Arc::clone(session), slice.clone(), None);
            reader.filter_from(slices.from(&slice));
            while let Some(batch) = reader.next_page().await? {
                for record in &batch.records {
                    let text = json::Slice::checked(batch.text(record));
                    if let Some(mut partition) = partition_of(text, &key, &field, &extra, &slice) {
                        if let Some(path) = &lazy {
                            let first = text.at(path).map_or(Python::List(Vec::new()), Python::from_json);
                            partition.extra.insert(0, (FIRST_PAGE.to_owned(), first));
                        }
                        hand_over(to, partition).await?;
                    }
                }
            }
            match reader.unread() {
                None => slices.close(&slice, reader.latest())?,
                Some(unread) => {
                    slices.leave_unread();
                    found.unread.push(unread);
                }
            }
        }
        let state = self.is_incremental.then(|| slices.final_state()).flatten();
        found.states = state.map(|state| (self.stream.name.clone(), state)).into_iter().collect();
        Ok(found)
    }

    /// The parent's own state inside the child's: by name, or the child's common value, which in an old form stands alone.
    fn state_of(&self, session: &Session, state: &Value) -> Result<Option<Value>> {
        let own = state.get("parent_state").and_then(|parents| parents.get(&self.stream.name));
        if let Some(known) = own.or_else(|| state.get("state")) {
            return Ok(Some(known.clone()).filter(|known| !known.is_null()));
        }
        let alone = state.as_object().filter(|members| members.len() == 1).and_then(|members| members.values().next());
        let alone = alone.filter(|value| value.is_string() || value.is_number());
        let Some((value, cursor)) = alone.zip(self.stream.cursor.as_ref()) else { return Ok(None) };
        let field = cursor.field.text(&session.engine, session.scope())?;
        Ok(Some(serde_json::json!({ field: value })))
    }

    /// The slices of the parent, and what was found out about its own parents.
    async fn slices(stream: &Stream, session: &Arc<Session>, state: Option<&Value>) -> Result<(ParentSlices, Parents)> {
        let mut progress = stream.progress(session, state, None)?;
        let (partitions, mut parents) = stream.retriever.router.collect(session, state).await?;
        if let Some(progress) = &mut progress {
            progress.set_parents(std::mem::take(&mut parents.states));
        }
        let mut slices = Vec::new();
        for partition in partitions {
            match &mut progress {
                Some(progress) => {
                    let opened = progress.open(&partition)?;
                    progress.begin(&partition, opened.len())?;
                    slices.extend(opened);
                }
                None => slices.push(partition),
            }
        }
        Ok((ParentSlices { progress, slices: slices.into_iter() }, parents))
    }
}

/// The partition that a parent record makes; none when its key is missing or null.
fn partition_of(
    record: json::Slice<'_>,
    key: &[String],
    field: &str,
    extra: &[Vec<String>],
    parent: &Slice,
) -> Option<Slice> {
    let value = record.at(key).filter(|value| !value.is_null())?;
    let parent_slice = super::slice::dict(&parent.partition);
    let extra = extra.iter().map(|path| (path.join("."), record.at(path).map_or(Python::None, Python::from_json)));
    Some(Slice {
        partition: vec![(field.to_owned(), Python::from_json(value)), ("parent_slice".to_owned(), parent_slice)],
        window: Vec::new(),
        extra: extra.collect(),
    })
}
