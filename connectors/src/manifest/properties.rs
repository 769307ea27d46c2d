//! `QueryProperties`: the fields that a product is asked for, in as many requests as it takes, and records put together again.

use std::sync::Arc;

use serde_json::Value;

use super::{
    json::Slice as Json,
    load::{Take, View},
    retriever::Retriever,
    session::Session,
    slice::Slice,
    stream::Stream,
    sweep::sweep,
    template::{Python, Template, values},
    transform::{Record, Transformation},
    yaml::Data,
};
use crate::Result;

/// What the delimiter between two names takes up in an address.
const DELIMITER_CHARS: usize = 3;

/// The component as the manifest writes it.
#[derive(Debug)]
pub(crate) struct QueryProperties {
    list: List,
    always: Vec<String>,
    chunking: Option<Chunking>,
    /// `JsonSchemaPropertySelector`: only properties that are left of the schema after these changes.
    selector: Option<Vec<Transformation>>,
    /// The query parameter that carries the names; templates pick them up where there is none.
    pub(crate) key: Option<String>,
}

#[derive(Debug)]
enum List {
    Fixed(Vec<String>),
    /// `PropertiesFromEndpoint`.
    Endpoint {
        source: Arc<Stream>,
        path: Vec<Template>,
    },
}

/// `PropertyChunking`.
#[derive(Debug)]
struct Chunking {
    counts_characters: bool,
    limit: Option<usize>,
    merge_keys: Vec<String>,
}

impl QueryProperties {
    /// Reads what a requester says of properties, if anything.
    pub(crate) fn load(requester: &View<'_>) -> Take<Option<Self>> {
        let in_parameters: Vec<_> = requester
            .named_children("request_parameters")
            .into_iter()
            .filter(|(_, view)| view.kind() == "QueryProperties")
            .collect();
        let endpoint = requester.child("fetch_properties_from_endpoint");
        match (in_parameters.as_slice(), endpoint, requester.child("query_properties")) {
            ([], None, None) => Ok(None),
            ([(key, view)], None, _) => {
                let mut properties = Self::read(view)?;
                properties.key = Some(key.to_string());
                Ok(Some(properties))
            }
            ([], Some(endpoint), _) => {
                let list = List::endpoint(&endpoint)?;
                Ok(Some(Self { list, always: Vec::new(), chunking: None, selector: None, key: None }))
            }
            ([], None, Some(view)) => Self::read(&view).map(Some),
            _ => Err(requester.problem("a requester can have one list of properties, in one place")),
        }
    }

    fn read(view: &View<'_>) -> Take<Self> {
        let list = match view.field("property_list").as_ref().map(|node| &node.data) {
            Some(Data::List(_)) => List::Fixed(view.texts("property_list")?.unwrap_or_default()),
            Some(_) => List::endpoint(&view.required_child("property_list")?)?,
            None => return Err(view.problem("QueryProperties needs `property_list`")),
        };
        let selector = match view.child("property_selector") {
            None => None,
            Some(selector) if selector.kind() == "JsonSchemaPropertySelector" => {
                let changes: Vec<_> = selector.children("transformations").iter().map(Transformation::load).collect();
                Some(changes.into_iter().collect::<Take<Vec<_>>>()?)
            }
            Some(selector) => return Err(selector.unsupported("property selector")),
        };
        Ok(Self {
            list,
            always: view.texts("always_include_properties")?.unwrap_or_default(),
            chunking: view.child("property_chunking").map(|chunking| Chunking::load(&chunking)).transpose()?,
            selector,
            key: None,
        })
    }

    /// True where the schema decides which properties are asked for.
    pub(crate) fn follows_schema(&self) -> bool {
        self.selector.is_some()
    }

    /// True where the records of several requests are put together.
    pub(crate) fn merges(&self) -> bool {
        self.chunking.is_some()
    }

    /// The names for each request.
    ///
    /// # Errors
    /// As for requests, where the product lists them.
    pub(crate) async fn chunks(&self, session: &Arc<Session>, schema: &Value) -> Result<Vec<Vec<String>>> {
        let mut names = Vec::clone(&*self.list.names(session).await?);
        if let Some(changes) = &self.selector {
            let wanted = selected(session, schema, changes)?;
            names.retain(|name| wanted.contains(name));
        }
        let Some(chunking) = &self.chunking else { return Ok(vec![[self.always.clone(), names].concat()]) };
        let Some(limit) = chunking.limit else { return Ok(vec![[names, self.always.clone()].concat()]) };
        let mut chunks = vec![self.always.clone()];
        let mut size = 0;
        for name in names {
            let own = if chunking.counts_characters { name.chars().count() + DELIMITER_CHARS } else { 1 };
            if size + own > limit {
                chunks.push(self.always.clone());
                size = 0;
            }
            size += own;
            if let Some(last) = chunks.last_mut() {
                last.push(name);
            }
        }
        Ok(chunks)
    }

    /// What records of several requests are known to belong together by.
    pub(crate) fn merge_key(&self, record: Json<'_>) -> Option<String> {
        let keys = self.chunking.as_ref().map_or(&[][..], |chunking| &chunking.merge_keys);
        let values = keys.iter().map(|key| {
            let value = record.get(key).filter(|value| !value.is_falsy())?;
            Some(Python::from_json(value).text())
        });
        values.collect::<Option<Vec<_>>>().map(|values| values.join(","))
    }
}

/// The names of a schema's properties after `changes`.
fn selected(session: &Session, schema: &Value, changes: &[Transformation]) -> Result<Vec<String>> {
    let properties = schema.get("properties").map_or_else(|| "{}".to_owned(), Value::to_string);
    let mut record = Record::open(Json::checked(&properties));
    let none = values::from_python(&Python::Dict(Vec::new()));
    for change in changes {
        change.apply(session, &none, &mut record)?;
    }
    Ok(record.parts().map(|(name, _)| name.clone()).collect())
}

impl List {
    fn endpoint(view: &View<'_>) -> Take<Self> {
        if view.kind() != "PropertiesFromEndpoint" {
            return Err(view.unsupported("list of properties"));
        }
        let source = Arc::new(Stream::bare("properties", Retriever::load(view)?));
        Ok(Self::Endpoint { source, path: view.templates("property_field_path")?.unwrap_or_default() })
    }

    /// Those that the product lists are asked for once a connector.
    async fn names(&self, session: &Arc<Session>) -> Result<Arc<Vec<String>>> {
        let (source, path) = match self {
            Self::Fixed(names) => return Ok(Arc::new(names.clone())),
            Self::Endpoint { source, path } => (source, path),
        };
        // A source lives as long as its manifest, and so does its address.
        let place = session.properties(Arc::as_ptr(source) as usize);
        let mut known = place.lock().await;
        if let Some(names) = &*known {
            return Ok(Arc::clone(names));
        }
        let path = path.iter().map(|step| step.text(&session.engine, session.scope())).collect::<Result<Vec<_>>>()?;
        let mut names = Vec::new();
        // Boxed: reading properties is reading records, which may need properties.
        let read = sweep(source, session, |_: &Slice, record| {
            names.push(record.at(&path).map_or_else(|| "[]".into(), |name| Python::from_json(name).text()));
            Ok(true)
        });
        Box::pin(read).await?;
        let names = Arc::new(names);
        *known = Some(Arc::clone(&names));
        Ok(names)
    }
}

impl Chunking {
    fn load(view: &View<'_>) -> Take<Self> {
        let counts_characters = match view.required_text("property_limit_type")?.as_str() {
            "characters" => true,
            "property_count" => false,
            other => return Err(view.problem(format!("`property_limit_type` cannot be `{other}`"))),
        };
        let merge_keys = match view.child("record_merge_strategy") {
            None => vec!["id".to_owned()],
            Some(strategy) if strategy.kind() == "GroupByKeyMergeStrategy" => {
                match strategy.field("key").as_ref().map(|node| &node.data) {
                    Some(Data::List(_)) => strategy.texts("key")?.unwrap_or_default(),
                    _ => vec![strategy.required_text("key")?],
                }
            }
            Some(strategy) => return Err(strategy.unsupported("record merge strategy")),
        };
        let limit = view.int("property_limit")?.and_then(|limit| usize::try_from(limit).ok());
        Ok(Self { counts_characters, limit: limit.filter(|limit| *limit > 0), merge_keys })
    }
}
