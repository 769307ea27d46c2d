//! Partitions: lists of values, records of a parent stream, and products of both.

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use serde_json::{Map, Value};
use tokio::sync::mpsc::Sender;

use super::{
    cursor::Progress,
    json,
    load::{Take, View, scalar_text},
    request::options::{Injections, RequestOption},
    retriever::Reader,
    session::Session,
    slice::{Slice, product},
    stream::Stream,
    template::{Python, Template},
    yaml::Data,
};
use crate::{Error, ErrorKind, FailedItem, Result};

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
}

/// The values of a list.
#[derive(Debug)]
pub(crate) enum Values {
    /// As written.
    Fixed(Vec<Python>),
    /// From a template.
    Template(Template),
}

/// `ParentStreamConfig`.
#[derive(Debug)]
pub(crate) struct Parent {
    pub(crate) stream: Arc<Stream>,
    key: Template,
    field: Template,
    extra: Vec<Vec<Template>>,
    option: Option<RequestOption>,
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
    fn add(&mut self, other: Self) {
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

    fn read(view: &View<'_>) -> Take<Self> {
        match view.kind() {
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
        let Some(node) = view.field("values") else { return Err(view.problem("a ListPartitionRouter needs `values`")) };
        let values = match &node.data {
            Data::List(items) => {
                let texts = items.iter().map(|item| scalar_text(item).map(|text| Python::Text(text.to_string())));
                Values::Fixed(
                    texts.collect::<Option<_>>().ok_or_else(|| view.problem("`values` must be a list of texts"))?,
                )
            }
            _ => Values::Template(view.required_template("values")?),
        };
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
            Self::Single => Ok(()),
            Self::List { field, option, .. } => one(field, option),
            Self::Substream(parents) => parents.iter().try_for_each(|parent| one(&parent.field, &parent.option)),
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
        let (to, mut from) = tokio::sync::mpsc::channel(64);
        let found = async {
            let mut all = Vec::new();
            while let Some(partition) = from.recv().await {
                all.push(partition);
            }
            all
        };
        let search = async move { self.partitions(session, state, &to).await };
        let (parents, all) = tokio::join!(search, found);
        Ok((all, parents?))
    }
}

async fn hand_over(to: &Sender<Slice>, partition: Slice) -> Result<()> {
    to.send(partition).await.map_err(|_| Error::new(ErrorKind::Cancelled, "nobody reads the partitions any more"))
}

impl Values {
    fn evaluate(&self, session: &Session) -> Result<Vec<Python>> {
        let template = match self {
            Self::Fixed(values) => return Ok(values.clone()),
            Self::Template(template) => template,
        };
        match template.value(&session.engine, session.scope())? {
            Python::List(items) | Python::Tuple(items) | Python::Set(items) => Ok(items),
            // A setting that was left empty: no partition.
            Python::Text(text) if text.is_empty() => Ok(Vec::new()),
            other => {
                let message = format!(
                    "`values` of a ListPartitionRouter gives `{}`, which is no list: check the setting it comes from",
                    other.text()
                );
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }
}

impl Parent {
    fn load(view: &View<'_>) -> Take<Self> {
        view.refuse(&["lazy_read_pointer"])?;
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
        let state = state.filter(|_| self.is_incremental);
        let parent_state = state.map(|state| self.state_of(session, state)).transpose()?.flatten();
        let (mut slices, mut found) = self.slices(session, parent_state.as_ref()).await?;
        while let Some(slice) = slices.next() {
            let mut reader = Reader::new(Arc::clone(&self.stream), Arc::clone(session), slice.clone(), None);
            reader.filter_from(slices.from(&slice));
            while let Some(batch) = reader.next_page().await? {
                for record in &batch.records {
                    let text = json::Slice::checked(batch.text(record));
                    if let Some(partition) = partition_of(text, &key, &field, &extra, &slice) {
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
    async fn slices(&self, session: &Arc<Session>, state: Option<&Value>) -> Result<(ParentSlices, Parents)> {
        let mut progress = self.stream.progress(session, state, None)?;
        let (partitions, mut parents) = self.stream.retriever.router.collect(session, state).await?;
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

/// The slices of a parent, and what is remembered of them.
struct ParentSlices {
    progress: Option<Progress>,
    slices: std::vec::IntoIter<Slice>,
}

impl ParentSlices {
    fn next(&mut self) -> Option<Slice> {
        self.slices.next()
    }

    fn from(&self, slice: &Slice) -> Option<super::time::Moment> {
        self.progress.as_ref().map(|progress| progress.from(slice))
    }

    fn close(&mut self, slice: &Slice, latest: Option<super::time::Moment>) -> Result<()> {
        let Some(progress) = &mut self.progress else { return Ok(()) };
        if let Some(latest) = &latest {
            progress.observe(latest);
        }
        progress.close(slice, latest)
    }

    fn leave_unread(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.leave_unread();
        }
    }

    fn final_state(&mut self) -> Option<Value> {
        self.progress.as_mut().map(Progress::final_state)
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
