//! Changes of records, in the order in which the manifest lists them.

use std::sync::Arc;

use bytes::Bytes;
use minijinja::{
    Value,
    value::{Enumerator, Object, ObjectRepr},
};

use super::{
    components::Plugged,
    json,
    load::{Skip, Take, View, scalar_text},
    reshape::{flattened, snake_cased, transformed, with_replaced_keys},
    session::Session,
    template::{Only, Template, values::Lazy},
    yaml::Data,
};
use crate::{Error, ErrorKind, RecordTransformation, Result};

/// Items that a path may add to a list.
const MAX_ITEMS: usize = 10_000;

/// A record opened one level: its members as JSON text. Values that nobody changes stay as they were received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record(Arc<Vec<(String, String)>>);

impl Record {
    /// Opens a record.
    pub(crate) fn open(slice: json::Slice<'_>) -> Self {
        Self(Arc::new(slice.members().into_iter().map(|(name, value)| (name, value.text().to_owned())).collect()))
    }

    /// The record as JSON.
    pub(crate) fn text(&self) -> String {
        let mut out =
            String::with_capacity(self.0.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>() + 2);
        out.push('{');
        for (index, (name, value)) in self.0.iter().enumerate() {
            out.push_str(if index > 0 { "," } else { "" });
            json::write_text(name, &mut out);
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
        out
    }

    /// What templates see.
    pub(crate) fn to_value(&self) -> Value {
        Value::from_object(Opened(self.clone()))
    }

    fn members(&mut self) -> &mut Vec<(String, String)> {
        Arc::make_mut(&mut self.0)
    }

    /// The JSON text of a member.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Names and JSON texts of the members.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter().map(|(name, value)| (name, value))
    }

    /// Sets a member to a JSON text.
    pub(crate) fn set(&mut self, name: &str, value: String) {
        match self.members().iter_mut().find(|(known, _)| known == name) {
            Some((_, slot)) => *slot = value,
            None => self.members().push((name.to_owned(), value)),
        }
    }

    /// Drops a member.
    pub(crate) fn remove(&mut self, name: &str) {
        self.members().retain(|(known, _)| known != name);
    }
}

#[derive(Debug)]
struct Opened(Record);

impl Object for Opened {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let body = Bytes::from(self.0.get(key)?.to_owned());
        let range = 0..body.len();
        Some(Lazy::value(&body, range))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.0.iter().map(|(name, _)| Value::from(name.as_str())).collect())
    }
}

/// One change.
#[derive(Debug)]
pub(crate) enum Transformation {
    /// `AddFields`.
    Add { fields: Vec<AddedField>, condition: Option<Template> },
    /// `RemoveFields`.
    Remove { paths: Vec<Vec<String>>, condition: Option<Template> },
    /// `CustomTransformation`.
    Custom(Plugged<dyn RecordTransformation>),
    /// `KeysToLower`.
    KeysToLower,
    /// `KeysToSnakeCase`.
    KeysToSnakeCase,
    /// `FlattenFields`.
    FlattenAll { flattens_lists: bool },
    /// `KeysReplace`.
    KeysReplace { old: Template, new: Template },
    /// `DpathFlattenFields`.
    Flatten {
        path: Vec<Template>,
        deletes_origin: bool,
        replaces_record: bool,
        prefix: Option<Template>,
        suffix: Option<Template>,
    },
}

/// `AddedFieldDefinition`.
#[derive(Debug)]
pub(crate) struct AddedField {
    path: Vec<String>,
    value: Template,
    only: Only,
}

impl Transformation {
    /// Reads one component of the list `transformations`.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        let condition = |view: &View<'_>| {
            Ok::<_, Skip>(view.template("condition")?.filter(|template| !template.source().is_empty()))
        };
        Ok(match view.kind() {
            _ if view.is_custom() => {
                Self::Custom(view.plug_in("transformation", &view.loader().components.transformations)?)
            }
            "AddFields" => {
                let fields: Vec<_> = view.children("fields").iter().map(AddedField::load).collect();
                Self::Add { fields: fields.into_iter().collect::<Take<_>>()?, condition: condition(view)? }
            }
            "RemoveFields" => Self::Remove { paths: load_paths(view, "field_pointers")?, condition: condition(view)? },
            "KeysToLower" => Self::KeysToLower,
            "KeysToSnakeCase" => Self::KeysToSnakeCase,
            "FlattenFields" => Self::FlattenAll { flattens_lists: view.flag("flatten_lists")?.unwrap_or(true) },
            "KeysReplace" => {
                Self::KeysReplace { old: view.required_template("old")?, new: view.required_template("new")? }
            }
            "DpathFlattenFields" => {
                let keys = view.child("key_transformation");
                let affix = |name: &str| keys.as_ref().map_or(Ok(None), |keys| keys.template(name));
                Self::Flatten {
                    path: view.templates("field_path")?.unwrap_or_default(),
                    deletes_origin: view.flag("delete_origin_value")?.unwrap_or(false),
                    replaces_record: view.flag("replace_record")?.unwrap_or(false),
                    prefix: affix("prefix")?,
                    suffix: affix("suffix")?,
                }
            }
            _ => return Err(view.unsupported("transformation")),
        })
    }

    /// Changes `record`.
    ///
    /// # Errors
    /// As for templates.
    pub(crate) fn apply(&self, session: &Session, slice: &Value, record: &mut Record) -> Result<()> {
        match self {
            Self::Add { fields, condition } => {
                fields.iter().try_for_each(|field| field.apply(session, slice, condition.as_ref(), record))
            }
            Self::Remove { paths, condition } => {
                paths.iter().try_for_each(|path| super::remove::remove(session, path, condition.as_ref(), record))
            }
            Self::KeysToLower => {
                let mut lower = Record::default();
                for (name, value) in record.0.iter() {
                    lower.set(&name.to_lowercase(), value.clone());
                }
                *record = lower;
                Ok(())
            }
            Self::Custom(custom) => transformed(session, slice, custom, record),
            Self::KeysToSnakeCase => {
                *record = snake_cased(record);
                Ok(())
            }
            Self::FlattenAll { flattens_lists } => {
                *record = flattened(record, *flattens_lists);
                Ok(())
            }
            Self::KeysReplace { old, new } => {
                let scope = session.scope().clone().with_slice(slice).with("record", record.to_value());
                let (old, new) = (old.text(&session.engine, &scope)?, new.text(&session.engine, &scope)?);
                *record = Record::open(json::Slice::checked(&with_replaced_keys(&record.text(), &old, &new)));
                Ok(())
            }
            Self::Flatten { path, deletes_origin, replaces_record, prefix, suffix } => {
                let text = |template: &Template| template.text(&session.engine, session.scope());
                let path = path.iter().map(text).collect::<Result<Vec<_>>>()?;
                let affix = |template: &Option<Template>| template.as_ref().map_or(Ok(String::new()), text);
                let affixes = (&*affix(prefix)?, &*affix(suffix)?);
                flatten(record, &path, *deletes_origin, *replaces_record, affixes);
                Ok(())
            }
        }
    }
}

/// A list of paths.
pub(crate) fn load_paths(view: &View<'_>, name: &str) -> Take<Vec<Vec<String>>> {
    let wrong = || view.problem(format!("`{name}` must be a list of paths"));
    let Some(node) = view.field(name) else { return Err(wrong()) };
    let Data::List(paths) = &node.data else { return Err(wrong()) };
    let path = |node: &Arc<super::yaml::Node>| match &node.data {
        Data::List(steps) => {
            steps.iter().map(|step| scalar_text(step).map(|text| text.to_string())).collect::<Option<Vec<_>>>()
        }
        _ => None,
    };
    paths.iter().map(|node| path(node).ok_or_else(wrong)).collect()
}

/// `value_type`: what the text of a template may become.
pub(crate) fn value_type(view: &View<'_>) -> Take<Only> {
    match view.text("value_type")?.as_deref() {
        None => Ok(Only::Any),
        Some("string") => Ok(Only::Text),
        Some("integer") => Ok(Only::Integer),
        Some("number") => Ok(Only::Number),
        Some("boolean") => Ok(Only::Boolean),
        Some(other) => Err(view.problem(format!("`value_type` cannot be `{other}`"))),
    }
}

impl AddedField {
    fn load(view: &View<'_>) -> Take<Self> {
        let only = value_type(view)?;
        let path = view.texts("path")?.unwrap_or_default();
        if path.is_empty() {
            return Err(view.problem("an added field needs a `path`"));
        }
        Ok(Self { path, value: view.required_template("value")?, only })
    }

    fn apply(&self, session: &Session, slice: &Value, condition: Option<&Template>, record: &mut Record) -> Result<()> {
        let scope = session.scope().clone().with_slice(slice).with("record", record.to_value());
        let Some(condition) = condition else {
            return set_at(record, &self.path, self.value.json(&session.engine, &scope, self.only)?);
        };
        let value = self.value.value_of(&session.engine, &scope, self.only)?;
        let path = Value::from(self.path.clone());
        let scope = scope.with("value", super::template::values::from_python(&value)).with("path", path);
        if condition.is_met(&session.engine, &scope)? {
            set_at(record, &self.path, value.to_json())?;
        }
        Ok(())
    }
}

/// Sets the value at `path`. Objects are made on the way, and lists where a step is a number; a null counts as missing.
fn set_at(record: &mut Record, path: &[String], value: String) -> Result<()> {
    let Some((name, rest)) = path.split_first() else { return Ok(()) };
    let value = set_inside(record.get(name), rest, value).ok_or_else(|| {
        let path = path.join(".");
        Error::new(ErrorKind::Invalid, format!("the field `{path}` cannot be added: there is no object to put it into"))
    })?;
    record.set(name, value);
    Ok(())
}

/// What stands at a step of the path afterwards; `None` when it can hold no members.
fn set_inside(present: Option<&str>, path: &[String], value: String) -> Option<String> {
    let Some((step, rest)) = path.split_first() else { return Some(value) };
    let present = present.map(json::Slice::checked).filter(|present| !present.is_null());
    let index = step.parse::<usize>().ok().filter(|index| *index < MAX_ITEMS);
    let (mut record, mut items) = match (present, index) {
        (Some(present), _) if present.is_object() => (Record::open(present), None),
        (Some(present), Some(_)) if present.first() == b'[' => {
            (Record::default(), Some(present.items().iter().map(|item| item.text().to_owned()).collect::<Vec<_>>()))
        }
        (None, Some(_)) => (Record::default(), Some(Vec::new())),
        (None, None) => (Record::default(), None),
        _ => return None,
    };
    if let (Some(items), Some(index)) = (&mut items, index) {
        let value = set_inside(items.get(index).map(String::as_str), rest, value)?;
        items.resize(items.len().max(index + 1), "null".to_owned());
        items[index] = value;
        return Some(format!("[{}]", items.join(",")));
    }
    let value = set_inside(record.get(step), rest, value)?;
    record.set(step, value);
    Some(record.text())
}

fn flatten(
    record: &mut Record,
    path: &[String],
    deletes_origin: bool,
    replaces_record: bool,
    (prefix, suffix): (&str, &str),
) {
    let text = record.text();
    let found = match path.iter().position(|step| step == "*") {
        None => json::Slice::checked(&text).at(path),
        Some(at) => {
            let outer = json::Slice::checked(&text).at(&path[..at]);
            let first =
                outer.and_then(|outer| outer.members().into_iter().map(|(_, value)| value).chain(outer.items()).next());
            first.and_then(|first| first.at(&path[at + 1..]))
        }
    };
    let Some(inner) = found.filter(|found| found.is_object()) else { return };
    let members: Vec<(String, String)> = inner
        .members()
        .into_iter()
        .map(|(name, value)| (format!("{prefix}{name}{suffix}"), value.text().to_owned()))
        .collect();
    if replaces_record && !members.is_empty() {
        *record = Record::default();
    } else if members.iter().any(|(name, _)| record.get(name).is_some()) {
        return;
    } else if deletes_origin {
        super::remove::remove_at(path, record);
    }
    for (name, value) in members {
        record.set(&name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Record {
        Record::open(json::Slice::parse(text).unwrap())
    }

    #[test]
    fn values_that_nobody_changes_stay_as_received() {
        let mut changed = record(r#"{"big": 123456789012345678901234567890, "n": 1.50, "o": {"a" : 1}}"#);
        set_at(&mut changed, &["o".into(), "b".into()], "2".into()).unwrap();
        set_at(&mut changed, &["x".into(), "y".into()], "true".into()).unwrap();
        assert_eq!(
            changed.text(),
            r#"{"big":123456789012345678901234567890,"n":1.50,"o":{"a":1,"b":2},"x":{"y":true}}"#
        );
    }

    #[test]
    fn objects_are_flattened_unless_names_meet() {
        let path = ["a".to_owned()];
        let mut flat = record(r#"{"id":1,"a":{"x":2}}"#);
        flatten(&mut flat, &path, true, false, ("p_", ""));
        assert_eq!(flat.text(), r#"{"id":1,"p_x":2}"#);
        let mut kept = record(r#"{"x":1,"a":{"x":2}}"#);
        flatten(&mut kept, &path, true, false, ("", ""));
        assert_eq!(kept.text(), r#"{"x":1,"a":{"x":2}}"#);
    }

    #[test]
    fn keys_are_replaced_inside_objects_too() {
        assert_eq!(
            with_replaced_keys(r#"{"a b":{"c d":1},"l":[{"e f":1}]}"#, " ", "_"),
            r#"{"a_b":{"c_d":1},"l":[{"e f":1}]}"#
        );
    }
}
