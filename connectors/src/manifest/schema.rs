//! Schemas of records: written in the manifest, or learned from the product.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    components::Plugged,
    json,
    load::{Take, View},
    retriever::Retriever,
    session::Session,
    stream::Stream,
    sweep::sweep,
    template::{Python, Template, values},
    transform::{Record, Transformation},
    yaml::Data,
};
use crate::{Error, ErrorKind, Result, SchemaSource};

/// The schema loaders of a stream.
#[derive(Debug)]
pub(crate) enum Schema {
    /// `InlineSchemaLoader`, or none.
    Inline(Arc<Value>),
    /// `DynamicSchemaLoader`.
    Dynamic(Box<DynamicSchema>),
    /// `CustomSchemaLoader`.
    Custom(Plugged<dyn SchemaSource>),
    /// Several: of two properties with one name the first counts.
    Several(Vec<Schema>),
}

/// `DynamicSchemaLoader`: the product describes its fields.
#[derive(Debug)]
pub(crate) struct DynamicSchema {
    source: Arc<Stream>,
    schema_path: Vec<Template>,
    key_path: Vec<Template>,
    type_path: Option<Vec<Template>>,
    types: Vec<TypesMap>,
    filter: Option<Template>,
    transformations: Vec<Transformation>,
}

/// `TypesMap`: a product's own name for a kind of field.
#[derive(Debug)]
struct TypesMap {
    current: Value,
    target: Value,
    condition: Option<Template>,
}

impl Schema {
    /// Reads the components in the field called `schema_loader`.
    pub(crate) fn load(stream: &View<'_>) -> Take<Self> {
        let is_list = stream.field("schema_loader").is_some_and(|node| matches!(node.data, Data::List(_)));
        let views = stream.children("schema_loader");
        let mut loaders = views.iter().map(Self::read).collect::<Vec<_>>().into_iter().collect::<Take<Vec<_>>>()?;
        Ok(match (loaders.len(), is_list) {
            (0, _) => Self::Inline(Arc::new(json!({}))),
            (1, false) => loaders.remove(0),
            _ => Self::Several(loaders),
        })
    }

    fn read(view: &View<'_>) -> Take<Self> {
        Ok(match view.kind() {
            _ if view.is_custom() => Self::Custom(view.plug_in("schema loader", &view.loader().components.schemas)?),
            "InlineSchemaLoader" => {
                Self::Inline(Arc::new(view.field("schema").map_or_else(|| json!({}), |node| node.to_json())))
            }
            "DynamicSchemaLoader" => Self::Dynamic(Box::new(DynamicSchema::load(view)?)),
            "JsonFileSchemaLoader" => {
                return Err(view.problem(
                    "a schema in a file is not supported: write it into the manifest with InlineSchemaLoader",
                ));
            }
            _ => return Err(view.unsupported("schema loader")),
        })
    }

    /// The schema as far as the manifest alone tells.
    pub(crate) fn written(&self) -> Option<&Arc<Value>> {
        match self {
            Self::Inline(schema) => Some(schema),
            Self::Dynamic(_) | Self::Several(_) | Self::Custom(_) => None,
        }
    }

    /// The schema; one that the product describes is asked for once a connector. `owner` is the stream.
    ///
    /// # Errors
    /// As for requests; `BadAnswer` for a description that is not as the manifest says.
    pub(crate) async fn resolve(&self, session: &Arc<Session>, owner: &str) -> Result<Arc<Value>> {
        if let Some(schema) = self.written() {
            return Ok(Arc::clone(schema));
        }
        let mut known = session.schemas.lock().await;
        if let Some(schema) = known.get(owner) {
            return Ok(Arc::clone(schema));
        }
        let schema = Arc::new(self.ask(session).await?);
        known.insert(owner.to_owned(), Arc::clone(&schema));
        Ok(schema)
    }

    async fn ask(&self, session: &Arc<Session>) -> Result<Value> {
        match self {
            Self::Inline(schema) => Ok(Value::clone(schema)),
            Self::Dynamic(schema) => schema.ask(session).await,
            Self::Custom(custom) => custom.part.schema(&session.own_settings(), &session.http).await,
            Self::Several(loaders) => {
                let mut properties = Map::new();
                for loader in loaders {
                    let mut schema = Box::pin(loader.ask(session)).await?;
                    let found = schema.get_mut("properties").map(Value::take);
                    if let Some(Value::Object(mut found)) = found {
                        found.extend(std::mem::take(&mut properties));
                        properties = found;
                    }
                }
                Ok(json!({
                    "$schema": "http://json-schema.org/draft-07/schema#",
                    "type": ["null", "object"],
                    "properties": properties,
                }))
            }
        }
    }
}

impl DynamicSchema {
    fn load(view: &View<'_>) -> Take<Self> {
        let retriever = Retriever::load(view);
        let identifier = view.required_child("schema_type_identifier")?;
        let transformations: Vec<_> =
            view.children("schema_transformations").iter().map(Transformation::load).collect();
        let filter = match view.child("schema_filter") {
            None => None,
            Some(filter) if filter.kind() == "RecordFilter" => {
                filter.template("condition")?.filter(|template| !template.source().is_empty())
            }
            Some(filter) => return Err(filter.unsupported("schema filter")),
        };
        let types: Vec<_> = identifier.children("types_mapping").iter().map(TypesMap::load).collect();
        Ok(Self {
            source: Arc::new(Stream::bare("dynamic_properties", retriever?)),
            schema_path: identifier.templates("schema_pointer")?.unwrap_or_default(),
            key_path: identifier.templates("key_pointer")?.unwrap_or_default(),
            type_path: identifier.templates("type_pointer")?.filter(|path| !path.is_empty()),
            types: types.into_iter().collect::<Take<_>>()?,
            filter,
            transformations: transformations.into_iter().collect::<Take<_>>()?,
        })
    }

    /// Asks the product: its first record describes the fields.
    async fn ask(&self, session: &Arc<Session>) -> Result<Value> {
        let mut first = None;
        sweep(&self.source, session, |_, record| {
            first = Some(record.text().to_owned());
            Ok(false)
        })
        .await?;
        let mut properties = Map::new();
        if let Some(first) = &first {
            let steps = evaluate(session, &self.schema_path)?;
            let described = json::Slice::checked(first).at(&steps).map(json::Slice::items).unwrap_or_default();
            for definition in described {
                let (name, kind) = self.property(session, definition)?;
                properties.insert(name, kind);
            }
        }
        let properties = self.changed(session, properties)?;
        Ok(json!({
            "$schema": "https://json-schema.org/draft-07/schema#",
            "type": "object",
            "additionalProperties": true,
            "properties": properties,
        }))
    }

    fn property(&self, session: &Session, definition: json::Slice<'_>) -> Result<(String, Value)> {
        let wrong =
            |what: &str| Error::new(ErrorKind::BadAnswer, format!("the product's description of fields {what}"));
        let name = definition.at(&evaluate(session, &self.key_path)?).and_then(json::Slice::as_text);
        let name = name.ok_or_else(|| wrong("names one by something else than text"))?.into_owned();
        let kind = match &self.type_path {
            None => Value::from("string"),
            Some(path) => {
                let found = definition.at(&evaluate(session, path)?);
                found.map_or_else(
                    || Value::from("string"),
                    |found| serde_json::from_str(found.text()).unwrap_or_default(),
                )
            }
        };
        let mapped = self.mapped(session, kind, definition)?;
        let schema = schema_of(&mapped)
            .ok_or_else(|| wrong(&format!("gives `{name}` the kind {mapped}, which `types_mapping` does not name")))?;
        Ok((name, schema))
    }

    fn mapped(&self, session: &Session, kind: Value, definition: json::Slice<'_>) -> Result<Value> {
        for map in self.types.iter().filter(|map| map.current == kind) {
            let is_met = match &map.condition {
                None => true,
                Some(condition) => {
                    let raw = values::from_python(&Python::from_json(definition));
                    condition.is_met(&session.engine, &session.scope().clone().with("raw_schema", raw))?
                }
            };
            if is_met {
                return Ok(map.target.clone());
            }
        }
        Ok(kind)
    }

    /// Filters and transforms properties as if they were a record.
    fn changed(&self, session: &Session, properties: Map<String, Value>) -> Result<Value> {
        let none = values::from_python(&Python::Dict(Vec::new()));
        let mut kept = Map::new();
        for (name, schema) in properties {
            let one = json!({ name.as_str(): schema });
            let is_kept = match &self.filter {
                None => true,
                Some(filter) => {
                    let scope =
                        session.scope().clone().with_slice(&none).with("next_page_token", minijinja::Value::from(()));
                    filter.is_met(&session.engine, &scope.with("record", values::from_json(&one)))?
                }
            };
            if is_kept {
                kept.insert(name, schema);
            }
        }
        if self.transformations.is_empty() {
            return Ok(Value::Object(kept));
        }
        let text = Value::Object(kept).to_string();
        let mut record = Record::open(json::Slice::checked(&text));
        for change in &self.transformations {
            change.apply(session, &none, &mut record)?;
        }
        serde_json::from_str(&record.text()).map_err(|_| Error::new(ErrorKind::Bug, "a changed schema is no JSON"))
    }
}

fn evaluate(session: &Session, path: &[Template]) -> Result<Vec<String>> {
    path.iter().map(|step| step.text(&session.engine, session.scope())).collect()
}

impl TypesMap {
    fn load(view: &View<'_>) -> Take<Self> {
        let part = |name: &str| {
            let found = view.field(name).map(|node| node.to_json());
            found.ok_or_else(|| view.problem(format!("a TypesMap needs `{name}`")))
        };
        let target = part("target_type")?;
        if schema_of(&target).is_none() {
            return Err(view.problem(format!("`target_type` cannot be {target}")));
        }
        let condition = view.template("condition")?.filter(|template| !template.source().is_empty());
        Ok(Self { current: part("current_type")?, target, condition })
    }
}

/// The schema of a kind: a name, two names, or a list with its items.
fn schema_of(kind: &Value) -> Option<Value> {
    match kind {
        Value::String(name) => named(name),
        Value::Array(names) => match names.as_slice() {
            [first, second] => Some(json!({"oneOf": [named(first.as_str()?)?, named(second.as_str()?)?]})),
            _ => None,
        },
        Value::Object(parts) => {
            let mut schema = named(parts.get("field_type")?.as_str()?)?;
            if let Some(items) = parts.get("items").filter(|items| !items.is_null()) {
                schema.as_object_mut()?.insert("items".into(), schema_of(items)?);
            }
            Some(schema)
        }
        _ => None,
    }
}

fn named(name: &str) -> Option<Value> {
    let text = |format: &str| json!({"type": ["null", "string"], "format": format});
    let marked = |format: &str| json!({"type": ["null", "string"], "format": format, "airbyte_type": name});
    Some(match name {
        "string" | "boolean" | "integer" | "number" | "array" | "object" => json!({"type": ["null", name]}),
        "date" => text("date"),
        "timestamp_with_timezone" => text("date-time"),
        "timestamp_without_timezone" => marked("date-time"),
        "time_without_timezone" | "time_with_timezone" => marked("time"),
        _ => return None,
    })
}
