//! `config_normalization_rules`: settings in an older form become those of today, and are checked beyond their schema.

use serde_json::{Map, Value};

use super::{
    load::{Take, View},
    settings,
    template::{Engine, Only, Python, Scope, Template, values},
    transform::value_type,
    yaml::Data,
};
use crate::{Error, Problem, Result};

/// The rules in their order.
#[derive(Debug, Default)]
pub(crate) struct Normalization {
    migrations: Vec<Change>,
    transformations: Vec<Change>,
    validations: Vec<Validation>,
}

#[derive(Debug)]
enum Change {
    /// `ConfigAddFields`.
    Add { fields: Vec<Added>, condition: Option<Template> },
    /// `ConfigRemapField`.
    Remap { path: Vec<Template>, map: Vec<(Template, Mapped)> },
    /// `ConfigRemoveFields`.
    Remove { pointers: Vec<Vec<String>>, condition: Option<Template> },
}

#[derive(Debug)]
struct Added {
    path: Vec<String>,
    value: Template,
    only: Only,
}

#[derive(Debug)]
enum Mapped {
    Text(Template),
    Constant(Value),
}

#[derive(Debug)]
struct Validation {
    subject: Subject,
    schema: Value,
}

#[derive(Debug)]
enum Subject {
    /// `DpathValidator`: the settings at a path; nothing is checked where there are none.
    Path(Vec<Template>),
    /// `PredicateValidator`: a value of the manifest.
    Value(Value),
}

impl Normalization {
    /// Reads the component in the field called `config_normalization_rules` of the spec.
    pub(crate) fn load(source: &View<'_>) -> Take<Self> {
        let Some(view) = source.child("spec").and_then(|spec| spec.child("config_normalization_rules")) else {
            return Ok(Self::default());
        };
        let all = |views: Vec<View<'_>>| -> Take<Vec<Change>> {
            views.iter().map(Change::load).collect::<Vec<_>>().into_iter().collect()
        };
        let migrations: Vec<_> = view
            .children("config_migrations")
            .iter()
            .map(|migration| all(migration.children("transformations")))
            .collect();
        let transformations = all(view.children("transformations"));
        let validations: Vec<_> = view.children("validations").iter().map(Validation::load).collect();
        Ok(Self {
            migrations: migrations.into_iter().collect::<Take<Vec<_>>>()?.into_iter().flatten().collect(),
            transformations: transformations?,
            validations: validations.into_iter().collect::<Take<_>>()?,
        })
    }

    /// Settings in their form of today.
    ///
    /// # Errors
    /// As for templates.
    pub(crate) fn migrate(&self, engine: &Engine, settings: Value) -> Result<Value> {
        self.migrations.iter().try_fold(settings, |settings, change| change.apply(engine, settings))
    }

    /// Settings as the streams see them.
    ///
    /// # Errors
    /// As for templates; `Invalid` with everything that a validation finds.
    pub(crate) fn finish(&self, engine: &Engine, settings: Value) -> Result<Value> {
        let settings =
            self.transformations.iter().try_fold(settings, |settings, change| change.apply(engine, settings))?;
        let scope = Scope::new(&values::from_json(&settings));
        let mut problems = Vec::new();
        for validation in &self.validations {
            validation.check(engine, &scope, &settings, &mut problems)?;
        }
        if problems.is_empty() {
            Ok(settings)
        } else {
            Err(Error::invalid("the settings do not fit together", problems))
        }
    }
}

impl Change {
    fn load(view: &View<'_>) -> Take<Self> {
        let condition = || Ok(view.template("condition")?.filter(|template| !template.source().is_empty()));
        match view.kind() {
            "ConfigAddFields" => {
                let fields: Vec<_> = view.children("fields").iter().map(Added::load).collect();
                Ok(Self::Add { fields: fields.into_iter().collect::<Take<_>>()?, condition: condition()? })
            }
            "ConfigRemapField" => {
                let path = view.templates("field_path")?.filter(|path| !path.is_empty());
                let Some(node) = view.field("map") else { return Err(view.problem("a ConfigRemapField needs `map`")) };
                let Data::Map(members) = &node.data else { return Err(view.problem("`map` must be a mapping")) };
                let members = members.iter().filter(|(key, _)| &**key != "$parameters");
                let pair = |(key, value): &(std::sync::Arc<str>, std::sync::Arc<super::yaml::Node>)| {
                    let mapped = match value.as_text() {
                        Some(text) => Mapped::Text(view.template_of(text, value, "map")?),
                        None => Mapped::Constant(value.to_json()),
                    };
                    Ok((view.template_of(key, value, "map")?, mapped))
                };
                Ok(Self::Remap {
                    path: path.ok_or_else(|| view.problem("a ConfigRemapField needs `field_path`"))?,
                    map: members.map(pair).collect::<Take<_>>()?,
                })
            }
            "ConfigRemoveFields" => Ok(Self::Remove {
                pointers: super::transform::load_paths(view, "field_pointers")?,
                condition: condition()?,
            }),
            _ => Err(view.unsupported("change of settings")),
        }
    }

    fn apply(&self, engine: &Engine, mut settings: Value) -> Result<Value> {
        match self {
            Self::Add { fields, condition } => {
                for field in fields {
                    let scope = Scope::new(&values::from_json(&settings));
                    let value = field.value.value_of(engine, &scope, field.only)?;
                    let path = minijinja::Value::from(field.path.clone());
                    let scope = scope.with("value", values::from_python(&value)).with("path", path);
                    if condition.as_ref().map_or(Ok(true), |condition| condition.is_met(engine, &scope))? {
                        set(&mut settings, &field.path, json_of(&value));
                    }
                }
            }
            Self::Remap { path, map } => {
                let scope = Scope::new(&values::from_json(&settings));
                let path = path.iter().map(|step| step.text(engine, &scope)).collect::<Result<Vec<_>>>()?;
                let Some((last, outer)) = path.split_last() else { return Ok(settings) };
                let found = outer.iter().try_fold(&mut settings, |value, step| value.get_mut(step));
                let Some(slot) = found.and_then(|found| found.get_mut(last)) else { return Ok(settings) };
                let present = Python::from(&*slot);
                for (key, mapped) in map {
                    // Keys that mean a number or a truth value count as such.
                    if key.value(engine, &scope)? == present || key.source() == present.text() {
                        *slot = match mapped {
                            Mapped::Text(template) => json_of(&template.value(engine, &scope)?),
                            Mapped::Constant(value) => value.clone(),
                        };
                        break;
                    }
                }
            }
            Self::Remove { pointers, condition } => {
                let scope = Scope::new(&values::from_json(&settings));
                if condition.as_ref().map_or(Ok(true), |condition| condition.is_met(engine, &scope))? {
                    pointers.iter().for_each(|pointer| remove(&mut settings, pointer));
                }
            }
        }
        Ok(settings)
    }
}

impl Added {
    fn load(view: &View<'_>) -> Take<Self> {
        let only = value_type(view)?;
        let path = view.texts("path")?.filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| view.problem("an added field needs a `path`"))?;
        Ok(Self { path, value: view.required_template("value")?, only })
    }
}

impl Validation {
    fn load(view: &View<'_>) -> Take<Self> {
        let subject = match view.kind() {
            "DpathValidator" => {
                let path = view.templates("field_path")?.filter(|path| !path.is_empty());
                Subject::Path(path.ok_or_else(|| view.problem("a DpathValidator needs `field_path`"))?)
            }
            "PredicateValidator" => Subject::Value(view.field("value").map_or(Value::Null, |node| node.to_json())),
            _ => return Err(view.unsupported("validator")),
        };
        let strategy = view.required_child("validation_strategy")?;
        if strategy.kind() != "ValidateAdheresToSchema" {
            return Err(strategy.unsupported("validation strategy"));
        }
        let schema = strategy.field("base_schema").map_or(Value::Null, |node| node.to_json());
        let schema = match &schema {
            Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
            _ => schema,
        };
        if !schema.is_object() {
            return Err(strategy.problem("`base_schema` must be a JSON schema"));
        }
        Ok(Self { subject, schema })
    }

    fn check(&self, engine: &Engine, scope: &Scope, settings: &Value, problems: &mut Vec<Problem>) -> Result<()> {
        let path = match &self.subject {
            Subject::Value(value) => {
                self.check_one("", value, problems);
                return Ok(());
            }
            Subject::Path(path) => path.iter().map(|step| step.text(engine, scope)).collect::<Result<Vec<_>>>()?,
        };
        let mut found = vec![(String::new(), settings)];
        for step in &path {
            found = found.into_iter().flat_map(|(pointer, value)| below(&pointer, value, step)).collect();
        }
        found.into_iter().for_each(|(pointer, value)| self.check_one(&pointer, value, problems));
        Ok(())
    }

    /// A text stands for the JSON that it holds.
    fn check_one(&self, pointer: &str, value: &Value, problems: &mut Vec<Problem>) {
        let place = || if pointer.is_empty() { "/".to_owned() } else { pointer.to_owned() };
        let read = match value {
            Value::String(text) => match serde_json::from_str(text) {
                Ok(value) => value,
                Err(_) => return problems.push(Problem { place: place(), message: "must be JSON".into() }),
            },
            other => other.clone(),
        };
        problems.extend(settings::check(&self.schema, &read).into_iter().map(|problem| {
            let inner = if problem.place == "/" { "" } else { problem.place.as_str() };
            let message = problem.message.clone();
            Problem { place: if inner.is_empty() { place() } else { format!("{pointer}{inner}") }, message }
        }));
    }
}

fn below<'v>(pointer: &str, value: &'v Value, step: &str) -> Vec<(String, &'v Value)> {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| step == "*" || *name == step)
            .map(|(name, value)| (format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .filter(|(index, _)| step == "*" || step.parse() == Ok(*index))
            .map(|(index, value)| (format!("{pointer}/{index}"), value))
            .collect(),
        _ => Vec::new(),
    }
}

fn json_of(value: &Python) -> Value {
    serde_json::from_str(&value.to_json()).unwrap_or_default()
}

/// Sets the value at `path`, making objects on the way.
fn set(settings: &mut Value, path: &[String], value: Value) {
    let [step, rest @ ..] = path else {
        *settings = value;
        return;
    };
    if let Value::Array(items) = settings
        && let Some(item) = step.parse::<usize>().ok().and_then(|index| items.get_mut(index))
    {
        return set(item, rest, value);
    }
    if !settings.is_object() {
        *settings = Value::Object(Map::new());
    }
    if let Some(members) = settings.as_object_mut() {
        set(members.entry(step.clone()).or_insert(Value::Null), rest, value);
    }
}

/// Takes away what stands at `path`; an item of a list becomes null.
fn remove(settings: &mut Value, path: &[String]) {
    match (path, settings) {
        ([step], Value::Object(members)) if step == "*" => members.clear(),
        ([step], Value::Object(members)) => drop(members.shift_remove(step)),
        ([step], Value::Array(items)) => {
            if let Some(item) = step.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
                *item = Value::Null;
            }
        }
        ([step, rest @ ..], Value::Object(members)) => {
            members
                .iter_mut()
                .filter(|(name, _)| step == "*" || *name == step)
                .for_each(|(_, value)| remove(value, rest));
        }
        ([step, rest @ ..], Value::Array(items)) => {
            let items = items.iter_mut().enumerate();
            items
                .filter(|(index, _)| step == "*" || step.parse() == Ok(*index))
                .for_each(|(_, value)| remove(value, rest));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest::load::Loader;

    fn rules(text: &str) -> (Normalization, Engine) {
        let text = format!("spec:\n  type: Spec\n  config_normalization_rules:\n{text}");
        let (loader, root) = Loader::read("m.yaml", &text).unwrap();
        let rules = Normalization::load(&loader.root(&root));
        let (compiler, problems) = loader.into_parts();
        assert!(problems.is_empty(), "{problems:?}");
        (rules.unwrap(), compiler.finish())
    }

    /// Facts taken from the reference's config transformations.
    #[test]
    fn settings_change_as_in_the_reference() {
        let (rules, engine) = rules(
            r#"
    config_migrations:
      - type: ConfigMigration
        transformations:
          - type: ConfigAddFields
            fields: [{ type: AddedFieldDefinition, path: [credentials, kind], value: "token" }, { path: [limit], value: "{{ config['size'] * 2 }}" }]
            condition: "{{ 'token' in config }}"
          - { type: ConfigRemoveFields, field_pointers: [[token], [nowhere, x]], condition: "{{ 'token' in config }}" }
    transformations:
      - { type: ConfigRemapField, field_path: [region], map: { EU: "https://eu.example", "US": us } }
      - { type: ConfigRemapField, field_path: [credentials, kind], map: { token: { a: 1 } } }
"#,
        );
        let settings = rules.migrate(&engine, json!({"token": "t", "size": 3, "region": "EU"})).unwrap();
        assert_eq!(settings, json!({"size": 3, "region": "EU", "credentials": {"kind": "token"}, "limit": 6}));
        let settings = rules.finish(&engine, settings).unwrap();
        assert_eq!(
            settings,
            json!({"size": 3, "region": "https://eu.example", "credentials": {"kind": {"a": 1}}, "limit": 6})
        );
        let other = rules.migrate(&engine, json!({"size": 3})).unwrap();
        assert_eq!(rules.finish(&engine, other).unwrap(), json!({"size": 3}));
    }

    #[test]
    fn every_setting_that_does_not_fit_is_told_by_its_place() {
        let (rules, engine) = rules(
            r#"
    validations:
      - type: DpathValidator
        field_path: [reports, "*", query]
        validation_strategy: { type: ValidateAdheresToSchema, base_schema: { type: object, required: [fields] } }
      - type: DpathValidator
        field_path: [not_there]
        validation_strategy: { type: ValidateAdheresToSchema, base_schema: { type: object } }
"#,
        );
        let good = json!({"reports": [{"query": "{\"fields\": []}"}, {"query": {"fields": 1}}]});
        assert!(rules.finish(&engine, good).is_ok());
        let error = rules.finish(&engine, json!({"reports": [{"query": "x"}, {"query": {}}]})).unwrap_err();
        let places: Vec<_> = error.problems().iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(places, ["/reports/0/query", "/reports/1/query/fields"]);
    }
}
