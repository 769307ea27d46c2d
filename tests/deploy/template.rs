//! Templates of CloudFormation as JSON values.

use std::{fs, path::Path};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Value, json};

/// A template of `deploy/templates`, by its path there.
pub struct Template {
    /// Such as `roles/auth.yaml`.
    pub path: String,
    /// As it is sent.
    pub text: String,
    /// Short forms are written out: `!Sub x` is `{"Fn::Sub": "x"}`.
    pub value: Value,
}

impl Template {
    /// The template at a path.
    pub fn read(path: &str) -> Self {
        let text = fs::read_to_string(Path::new("deploy/templates").join(path))
            .unwrap_or_else(|error| panic!("deploy/templates/{path}: {error}"));
        let mut events = Parser::new_from_str(&text)
            .map(|event| event.unwrap_or_else(|error| panic!("{path} is not YAML: {error}")).0)
            .filter(|event| !matches!(event, Event::StreamStart | Event::DocumentStart(_)));
        let value = node(&mut events).expect("a template is not empty");
        drop(events);
        Self { path: path.to_owned(), text, value }
    }

    /// All templates.
    pub fn all() -> Vec<Self> {
        let names = |folder: &str| {
            let entries = fs::read_dir(Path::new("deploy/templates").join(folder)).expect("tests run in the checkout");
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let mut paths: Vec<String> = names("").into_iter().filter(|name| name.ends_with(".yaml")).collect();
        paths.extend(names("roles").into_iter().map(|name| format!("roles/{name}")));
        paths.sort_unstable();
        paths.iter().map(|path| Self::read(path)).collect()
    }

    /// The policies of its roles, and those that it makes for roles.
    pub fn policies(&self) -> impl Iterator<Item = &Value> {
        let roles = self.resources("AWS::IAM::Role");
        let own = roles.filter_map(|(_, role)| role["Properties"]["Policies"].as_array()).flatten();
        own.chain(self.resources("AWS::IAM::ManagedPolicy").map(|(_, policy)| &policy["Properties"]))
    }

    /// Name and body of the resources of a type.
    pub fn resources<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let all = self.value["Resources"].as_object().expect("a template has resources");
        all.iter().filter(move |(_, resource)| resource["Type"] == kind)
    }
}

/// An action, and the resource on which it is allowed: an ARN with `${…}` in it, or the name of an export.
pub type Right = (String, String);

/// The templates of roles.
pub fn roles() -> Vec<Template> {
    Template::all().into_iter().filter(|template| template.path.starts_with("roles/")).collect()
}

/// All that the role of a service allows, with what it shares with others.
pub fn rights_of(service: &str) -> Vec<Right> {
    let own = Template::read(&format!("roles/{service}.yaml"));
    let shared = Template::read("roles/shared.yaml");
    let role = &own.value["Resources"]["Role"]["Properties"];
    let names = role["ManagedPolicyArns"].as_array().into_iter().flatten();
    let names: Vec<_> = names.filter_map(|arn| text_of(arn).rsplit("policy/").next()).collect();
    let managed = shared.resources("AWS::IAM::ManagedPolicy").map(|(_, policy)| &policy["Properties"]);
    let managed = managed.filter(|policy| names.contains(&text_of(&policy["ManagedPolicyName"])));
    own.policies().chain(managed).flat_map(rights).collect()
}

/// What a policy allows: each action with each resource.
pub fn rights(policy: &Value) -> Vec<Right> {
    let many = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let mut allowed = Vec::new();
    for statement in many(&policy["PolicyDocument"]["Statement"]) {
        assert_eq!(statement["Effect"], "Allow");
        assert!(statement.get("NotAction").is_none() && statement.get("NotResource").is_none(), "{statement}");
        for action in many(&statement["Action"]) {
            let place = |on: &Value| text_of(on.get("Fn::ImportValue").unwrap_or(on)).to_owned();
            allowed.extend(many(&statement["Resource"]).iter().map(|on| (text_of(&action).to_owned(), place(on))));
        }
    }
    allowed
}

/// The next node; `None` at the end of a list or mapping.
fn node<'a>(events: &mut impl Iterator<Item = Event<'a>>) -> Option<Value> {
    match events.next().expect("the document ends") {
        Event::Scalar(text, style, _, tag) => Some(tagged(tag.as_deref(), scalar(&text, style))),
        Event::SequenceStart(_, tag) => {
            let items = std::iter::from_fn(|| node(events)).collect();
            Some(tagged(tag.as_deref(), Value::Array(items)))
        }
        Event::MappingStart(_, tag) => {
            let mut members = Map::new();
            while let Some(name) = node(events) {
                let name = name.as_str().map_or_else(|| name.to_string(), ToOwned::to_owned);
                let value = node(events).expect("a name has a value");
                assert!(members.insert(name.clone(), value).is_none(), "{name} is there twice");
            }
            Some(tagged(tag.as_deref(), Value::Object(members)))
        }
        Event::Alias(_) => panic!("CloudFormation knows no aliases"),
        _ => None,
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    let is_other = |value: &Value| value.is_boolean() || value.is_number();
    let plain = (style == ScalarStyle::Plain).then(|| serde_json::from_str(text).ok()).flatten();
    plain.filter(is_other).unwrap_or_else(|| Value::from(text))
}

fn tagged(tag: Option<&Tag>, value: Value) -> Value {
    match tag.map(|tag| tag.suffix.as_str()) {
        None => value,
        Some("Ref") => json!({ "Ref": value }),
        Some("Condition") => json!({ "Condition": value }),
        Some(name) => json!({ format!("Fn::{name}"): value }),
    }
}

/// What an intrinsic `Fn::Sub` or plain text says, with its `${…}`.
pub fn text_of(value: &Value) -> &str {
    let inner = value.get("Fn::Sub").unwrap_or(value);
    let inner = inner.get(0).unwrap_or(inner);
    inner.as_str().unwrap_or_default()
}
