//! `RecordExpander`: the items of a list inside a record are the records.

use super::{
    extract::Step,
    extraction::steps,
    json::Slice as Json,
    load::{Take, View},
    session::Session,
    template::{Python, Template},
};
use crate::Result;

/// The component as the manifest writes it.
#[derive(Debug)]
pub(crate) struct Expander {
    path: Vec<Template>,
    keeps_original: bool,
    merges_parent: bool,
    emits_parent: bool,
    fields: Vec<(Vec<Template>, Vec<Template>)>,
}

/// The same with the settings filled in.
#[derive(Debug)]
pub(crate) struct BoundExpander {
    path: Vec<Step>,
    keeps_original: bool,
    merges_parent: bool,
    emits_parent: bool,
    fields: Vec<(Vec<String>, Vec<String>)>,
}

impl Expander {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        view.refuse(&["truncated_list_retriever"])?;
        let field = |view: &View<'_>| -> Take<(Vec<Template>, Vec<Template>)> {
            let path = |name: &str| {
                let path = view.templates(name)?.filter(|path| !path.is_empty());
                path.ok_or_else(|| view.problem(format!("a parent field needs `{name}`")))
            };
            Ok((path("parent_path")?, path("record_path")?))
        };
        let fields: Vec<_> = view.children("parent_fields").iter().map(field).collect();
        let emits_parent = match view.text("on_no_records")?.as_deref() {
            None | Some("skip") => false,
            Some("emit_parent") => true,
            Some(other) => return Err(view.problem(format!("`on_no_records` cannot be `{other}`"))),
        };
        Ok(Self {
            path: view.templates("expand_records_from_field")?.unwrap_or_default(),
            keeps_original: view.flag("remain_original_record")?.unwrap_or(false),
            merges_parent: view.flag("merge_parent")?.unwrap_or(false),
            emits_parent,
            fields: fields.into_iter().collect::<Take<_>>()?,
        })
    }

    /// Fills in the settings.
    ///
    /// # Errors
    /// As for templates.
    pub(crate) fn bind(&self, session: &Session) -> Result<BoundExpander> {
        let texts = |path: &[Template]| {
            path.iter().map(|step| step.text(&session.engine, session.scope())).collect::<Result<Vec<_>>>()
        };
        let fields = self.fields.iter().map(|(from, to)| Ok((texts(from)?, texts(to)?)));
        Ok(BoundExpander {
            path: steps(&self.path, session)?,
            keeps_original: self.keeps_original,
            merges_parent: self.merges_parent,
            emits_parent: self.emits_parent,
            fields: fields.collect::<Result<_>>()?,
        })
    }
}

impl BoundExpander {
    /// The records inside `record`.
    pub(crate) fn expand(&self, record: Json<'_>) -> Vec<String> {
        if !record.is_object() || self.path.is_empty() {
            return vec![record.text().to_owned()];
        }
        let mut lists = Vec::new();
        super::values::walk(record, &self.path, &mut lists);
        let items: Vec<Json<'_>> = lists.into_iter().flat_map(Json::items).collect();
        if items.is_empty() && self.emits_parent {
            return vec![record.text().to_owned()];
        }
        if !self.keeps_original && !self.merges_parent && self.fields.is_empty() {
            return items.into_iter().map(|item| item.text().to_owned()).collect();
        }
        let parent = Python::from_json(record);
        let base = self.merges_parent.then(|| without(&parent, &self.path));
        items.into_iter().map(|item| self.with_parent(&parent, base.as_ref(), item)).collect()
    }

    fn with_parent(&self, parent: &Python, base: Option<&Python>, item: Json<'_>) -> String {
        let own = match Python::from_json(item) {
            Python::Dict(members) => members,
            other => vec![(Python::Text("value".into()), other)],
        };
        let mut child = match base {
            Some(Python::Dict(members)) => members.clone(),
            _ => Vec::new(),
        };
        for (key, value) in own {
            put(&mut child, key, value);
        }
        let mut child = Python::Dict(child);
        for (from, to) in &self.fields {
            set(&mut child, to, look_up(parent, from).cloned().unwrap_or(Python::None));
        }
        if self.keeps_original {
            set(&mut child, &["original_record".to_owned()], parent.clone());
        }
        child.to_json()
    }
}

fn put(members: &mut Vec<(Python, Python)>, key: Python, value: Python) {
    match members.iter_mut().find(|(known, _)| *known == key) {
        Some((_, slot)) => *slot = value,
        None => members.push((key, value)),
    }
}

fn look_up<'a>(value: &'a Python, path: &[String]) -> Option<&'a Python> {
    path.iter().try_fold(value, |value, step| match value {
        Python::Dict(members) => members.iter().find(|(key, _)| key.text() == *step).map(|(_, value)| value),
        Python::List(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Sets the value at `path`, making objects on the way.
fn set(slot: &mut Python, path: &[String], value: Python) {
    let [step, rest @ ..] = path else {
        *slot = value;
        return;
    };
    if !matches!(slot, Python::Dict(_)) {
        *slot = Python::Dict(Vec::new());
    }
    let Python::Dict(members) = slot else { return };
    match members.iter_mut().find(|(key, _)| key.text() == *step) {
        Some((_, inner)) => set(inner, rest, value),
        None => {
            let mut inner = Python::Dict(Vec::new());
            set(&mut inner, rest, value);
            members.push((Python::Text(step.clone()), inner));
        }
    }
}

/// The value without the lists that `path` leads to.
fn without(value: &Python, path: &[Step]) -> Python {
    let Some((step, rest)) = path.split_first() else { return value.clone() };
    let is_meant = |name: &str| match step {
        Step::Each => true,
        Step::Nowhere => false,
        Step::Index(wanted) => name.parse() == Ok(*wanted),
        Step::Name(wanted) => wanted == name,
    };
    let keep = |name: &str, inner: &Python| match (is_meant(name), rest.is_empty()) {
        (false, _) => Some(inner.clone()),
        (true, true) => Some(inner.clone()).filter(|inner| !matches!(inner, Python::List(_))),
        (true, false) => Some(without(inner, rest)),
    };
    match value {
        Python::Dict(members) => Python::Dict(
            members.iter().filter_map(|(key, inner)| Some((key.clone(), keep(&key.text(), inner)?))).collect(),
        ),
        Python::List(items) => Python::List(
            items.iter().enumerate().filter_map(|(index, inner)| keep(&index.to_string(), inner)).collect(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expander(path: &[&str]) -> BoundExpander {
        let step = |name: &&str| if *name == "*" { Step::Each } else { Step::Name((*name).to_owned()) };
        BoundExpander {
            path: path.iter().map(step).collect(),
            keeps_original: false,
            merges_parent: false,
            emits_parent: false,
            fields: Vec::new(),
        }
    }

    /// Facts taken from the reference's RecordExpander.
    #[test]
    fn records_are_taken_out_of_records_as_in_the_reference() {
        let record = Json::checked(r#"{"id":1,"name":"p","lines":{"data":[{"id":2,"x":1.50},{"id":3}],"more":true}}"#);
        let plain = expander(&["lines", "data"]);
        assert_eq!(plain.expand(record), [r#"{"id":2,"x":1.50}"#, r#"{"id":3}"#]);
        let merged = BoundExpander { merges_parent: true, ..expander(&["lines", "data"]) };
        assert_eq!(merged.expand(record)[1], r#"{"id":3,"name":"p","lines":{"more":true}}"#);
        let fields = vec![
            (vec!["id".to_owned()], vec!["parent".to_owned(), "id".to_owned()]),
            (vec!["no".to_owned()], vec!["no".to_owned()]),
        ];
        let copied = BoundExpander { fields, ..expander(&["lines", "data"]) };
        assert_eq!(copied.expand(record)[1], r#"{"id":3,"parent":{"id":1},"no":null}"#);
        let kept = BoundExpander { keeps_original: true, ..expander(&["l"]) };
        assert_eq!(kept.expand(Json::checked(r#"{"l":[5]}"#)), [r#"{"value":5,"original_record":{"l":[5]}}"#]);
        let empty = Json::checked(r#"{"id":1,"l":[]}"#);
        assert!(expander(&["l"]).expand(empty).is_empty());
        assert_eq!(BoundExpander { emits_parent: true, ..expander(&["l"]) }.expand(empty), [r#"{"id":1,"l":[]}"#]);
        assert_eq!(
            expander(&["a", "*", "b"]).expand(Json::checked(r#"{"a":[{"b":[{"i":1}]},{"b":[{"i":2}]}]}"#)).len(),
            2
        );
    }
}
