//! A component of the manifest as its reader sees it: fields, children, parameters, and where it stands.

use std::sync::Arc;

use minijinja::Value;

use super::{
    super::{
        template::{Template, values},
        yaml::{Data, Node},
    },
    Loader,
    parameters::default_type,
};

/// Says that a problem has been noted and the part cannot be built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Skip;

/// A part, or a noted problem.
pub(crate) type Take<T> = Result<T, Skip>;

/// Where a component stands, for loading it again with another node.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    node: Arc<Node>,
    parent: Arc<str>,
    field: String,
    parameters: Arc<Members>,
    path: String,
}

impl Kept {
    /// The component as the manifest writes it.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// The component that `node` would be in its place.
    pub(crate) fn view<'l>(&self, loader: &'l Loader, node: &Arc<Node>) -> View<'l> {
        let parent = View {
            loader,
            node: Arc::clone(node),
            kind: Arc::clone(&self.parent),
            parameters: Arc::clone(&self.parameters),
            path: String::new(),
        };
        parent.component(&self.field, node, self.path.clone())
    }
}

pub(super) type Members = Vec<(Arc<str>, Arc<Node>)>;

/// One component. Parameters flow down: a field that is missing or empty takes the value of the parameter of its name.
#[derive(Clone)]
pub(crate) struct View<'l> {
    loader: &'l Loader,
    node: Arc<Node>,
    kind: Arc<str>,
    parameters: Arc<Members>,
    path: String,
}

impl<'l> View<'l> {
    /// The manifest itself.
    pub(super) fn root(loader: &'l Loader, node: &Arc<Node>) -> Self {
        let above =
            View { loader, node: Arc::clone(node), kind: "".into(), parameters: Arc::default(), path: String::new() };
        Self { kind: "DeclarativeSource".into(), ..above.component("", node, String::new()) }
    }

    /// The child component that `node` is, in the field called `field`.
    fn component(&self, field: &str, node: &Arc<Node>, path: String) -> Self {
        let written = node.get("type").and_then(|kind| kind.as_text().cloned());
        let kind = written
            .unwrap_or_else(|| default_type(&self.kind, field, node.get("class_name").is_some()).unwrap_or("").into());
        let own = match node.get("$parameters").map(|own| &own.data) {
            Some(Data::Map(own)) => own.as_slice(),
            _ => &[],
        };
        let inherited = self.parameters.iter().filter(|(name, _)| &**name != field);
        let parameters = if own.is_empty() && !self.parameters.iter().any(|(name, _)| &**name == field) {
            Arc::clone(&self.parameters)
        } else {
            let kept = inherited.filter(|(name, _)| !own.iter().any(|(own, _)| own == name));
            Arc::new(kept.chain(own).cloned().collect())
        };
        Self { loader: self.loader, node: Arc::clone(node), kind, parameters, path }
    }

    /// The component's type; empty when it has none.
    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// The node behind it.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What loading shares.
    pub(crate) fn loader(&self) -> &'l Loader {
        self.loader
    }

    /// True when no parameters flow in, so that the node alone decides what the component is.
    pub(crate) fn is_free_of_parameters(&self) -> bool {
        self.parameters.is_empty()
    }

    /// The component as JSON, with the parameters of the components around it.
    pub(crate) fn options(&self) -> serde_json::Value {
        let mut options = self.node.to_json();
        if let Some(members) = options.as_object_mut() {
            let parameters = self.parameters.iter().map(|(name, node)| (name.to_string(), node.to_json()));
            members.insert("$parameters".into(), serde_json::Value::Object(parameters.collect()));
        }
        options
    }

    /// Notes a problem here.
    pub(crate) fn problem(&self, message: impl Into<String>) -> Skip {
        self.loader.note(&self.node, &self.path, message.into());
        Skip
    }

    /// Notes that this type is not supported where it stands.
    pub(crate) fn unsupported(&self, what: &str) -> Skip {
        if let Some(class) = self.node.get("class_name").and_then(|class| class.as_text().cloned()) {
            return self.problem(format!(
                "the custom component `{class}` is not built in; this {what} needs its code as a Rust type"
            ));
        }
        match self.kind() {
            "" => self.problem(format!("this {what} has no `type`")),
            kind => self.problem(format!("`{kind}` is not supported as {what}")),
        }
    }

    /// Notes each of `fields` that is used: they would change what is read and are not supported.
    pub(crate) fn refuse(&self, fields: &[&str]) -> Take<()> {
        let used: Vec<_> =
            fields.iter().filter(|field| self.field(field).is_some_and(|node| !node.is_falsy())).collect();
        for field in &used {
            self.at(field).problem(format!("`{field}` of {} is not supported", self.called()));
        }
        if used.is_empty() { Ok(()) } else { Err(Skip) }
    }

    /// A view for problems of the field called `name`.
    fn at(&self, name: &str) -> Self {
        let node = self.node.get(name).unwrap_or(&self.node);
        Self { node: Arc::clone(node), path: self.path_of(name), ..self.clone() }
    }

    /// Where in the tree it stands; empty for the manifest itself.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Where the field called `name` stands.
    pub(crate) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A field's value; `None` when it is missing or null.
    pub(crate) fn field(&self, name: &str) -> Option<Arc<Node>> {
        self.loader.note_read(&self.node, name);
        let own = self.node.get(name);
        if own.is_none_or(|node| node.is_falsy())
            && !self.kind.is_empty()
            && let Some((_, parameter)) = self.parameters.iter().find(|(key, _)| &**key == name)
        {
            return Some(Arc::clone(parameter));
        }
        own.filter(|node| !matches!(node.data, Data::Null)).cloned()
    }

    /// The component in the field called `name`.
    pub(crate) fn child(&self, name: &str) -> Option<View<'l>> {
        let node = self.field(name)?;
        Some(self.component(name, &node, self.path_of(name)))
    }

    /// Keeps the place of the component in the field called `name`.
    pub(crate) fn keep(&self, name: &str) -> Take<Kept> {
        let node = self.field(name).ok_or_else(|| self.missing(name))?;
        let (parent, parameters) = (Arc::clone(&self.kind), Arc::clone(&self.parameters));
        Ok(Kept { node, parent, field: name.to_owned(), parameters, path: self.path_of(name) })
    }

    /// The same component with a name, if it has none.
    pub(crate) fn named(&self, name: &str) -> Self {
        let Data::Map(members) = &self.node.data else { return self.clone() };
        if self.field("name").is_some() {
            return self.clone();
        }
        let mut members = members.clone();
        members.push(("name".into(), Node::new(Data::Text(name.into()), self.node.place)));
        let node = Node::new(Data::Map(members), self.node.place);
        self.loader.hold(&node);
        Self { node, ..self.clone() }
    }

    /// The component in the field called `name`, which must be there.
    pub(crate) fn required_child(&self, name: &str) -> Take<View<'l>> {
        self.child(name).ok_or_else(|| self.missing(name))
    }

    /// The components in the list called `name`; one alone counts as a list.
    pub(crate) fn children(&self, name: &str) -> Vec<View<'l>> {
        let Some(node) = self.field(name) else { return Vec::new() };
        match &node.data {
            Data::List(items) => {
                let path = self.path_of(name);
                items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.component(name, item, format!("{path}[{index}]")))
                    .collect()
            }
            _ => vec![self.component(name, &node, self.path_of(name))],
        }
    }

    /// The named components in the mapping called `name`.
    pub(crate) fn named_children(&self, name: &str) -> Vec<(Arc<str>, View<'l>)> {
        let Some(holder) = self.child(name) else { return Vec::new() };
        match &holder.node.data {
            Data::Map(members) => members
                .iter()
                .filter(|(key, _)| &**key != "$parameters")
                .map(|(key, node)| (Arc::clone(key), holder.component(key, node, holder.path_of(key))))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// What people know it by: its type, or else the last step of its path.
    fn called(&self) -> String {
        let step = self.path.rsplit('.').next().unwrap_or_default();
        match (&*self.kind, step) {
            ("", "") => "the manifest".to_owned(),
            ("", step) => format!("`{step}`, which has no `type`,"),
            (kind, _) => format!("`{kind}`"),
        }
    }

    fn missing(&self, name: &str) -> Skip {
        self.problem(format!("{} needs `{name}`", self.called()))
    }

    fn wrong(&self, name: &str, wanted: &str, found: &Node) -> Skip {
        self.at(name).problem(format!("`{name}` must be {wanted}, found {}", found.kind()))
    }

    /// A text field as written.
    pub(crate) fn text(&self, name: &str) -> Take<Option<String>> {
        match self.field(name) {
            None => Ok(None),
            Some(node) => {
                scalar_text(&node).map(|text| Some(text.to_string())).ok_or_else(|| self.wrong(name, "text", &node))
            }
        }
    }

    /// A text field that must be there.
    pub(crate) fn required_text(&self, name: &str) -> Take<String> {
        self.text(name)?.ok_or_else(|| self.missing(name))
    }

    /// A yes/no field.
    pub(crate) fn flag(&self, name: &str) -> Take<Option<bool>> {
        match self.field(name) {
            None => Ok(None),
            Some(node) => match &node.data {
                Data::Bool(value) => Ok(Some(*value)),
                Data::Text(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
                Data::Text(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
                _ => Err(self.wrong(name, "true or false", &node)),
            },
        }
    }

    /// A whole-number field.
    pub(crate) fn int(&self, name: &str) -> Take<Option<i64>> {
        match self.field(name) {
            None => Ok(None),
            Some(node) => {
                let value = match &node.data {
                    Data::Int(value) => i64::try_from(*value).ok(),
                    Data::Float(value) if value.fract() == 0.0 => Some(*value as i64),
                    Data::Text(text) => text.trim().parse().ok(),
                    _ => None,
                };
                value.map(Some).ok_or_else(|| self.wrong(name, "a whole number", &node))
            }
        }
    }

    /// A template field.
    pub(crate) fn template(&self, name: &str) -> Take<Option<Template>> {
        let Some(node) = self.field(name) else { return Ok(None) };
        let Some(text) = scalar_text(&node) else { return Err(self.wrong(name, "text", &node)) };
        self.compile(&text, &node, &self.path_of(name)).map(Some)
    }

    /// A template field that must be there.
    pub(crate) fn required_template(&self, name: &str) -> Take<Template> {
        self.template(name)?.ok_or_else(|| self.missing(name))
    }

    /// A list of templates.
    pub(crate) fn templates(&self, name: &str) -> Take<Option<Vec<Template>>> {
        let Some(node) = self.field(name) else { return Ok(None) };
        let Data::List(items) = &node.data else { return Err(self.wrong(name, "a list", &node)) };
        let path = self.path_of(name);
        let items: Vec<Take<Template>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| {
                let text = scalar_text(item).ok_or_else(|| self.wrong(name, "a list of texts", item))?;
                self.compile(&text, item, &format!("{path}[{index}]"))
            })
            .collect();
        items.into_iter().collect::<Take<Vec<_>>>().map(Some)
    }

    /// A template from a text found inside this component.
    pub(crate) fn template_of(&self, text: &str, node: &Node, step: &str) -> Take<Template> {
        self.compile(&text.into(), node, &self.path_of(step))
    }

    fn compile(&self, text: &Arc<str>, node: &Node, path: &str) -> Take<Template> {
        let place = format!("{}:{}:{} {path}", self.loader.file, node.place.line, node.place.column);
        let compiled = self.loader.compiler.compile(text, self.parameters_value(), &place, &self.loader.extra_names);
        compiled.map_err(|reason| {
            self.loader.note(node, path, reason);
            Skip
        })
    }

    /// The parameters as templates see them.
    fn parameters_value(&self) -> Value {
        self.loader.shown_parameters(&self.parameters, || {
            Value::from_pairs(
                self.parameters.iter().map(|(name, node)| (name.to_string(), values::from_json(&node.to_json()))),
            )
        })
    }

    /// A list of texts as written; `None` when the field is missing.
    pub(crate) fn texts(&self, name: &str) -> Take<Option<Vec<String>>> {
        let Some(node) = self.field(name) else { return Ok(None) };
        let Data::List(items) = &node.data else { return Err(self.wrong(name, "a list", &node)) };
        let texts = items.iter().map(|item| {
            scalar_text(item).map(|text| text.to_string()).ok_or_else(|| self.wrong(name, "a list of texts", item))
        });
        texts.collect::<Take<Vec<_>>>().map(Some)
    }
}

/// A scalar as the text that Python would make of it.
pub(crate) fn scalar_text(node: &Node) -> Option<Arc<str>> {
    match &node.data {
        Data::Text(text) => Some(Arc::clone(text)),
        Data::Int(value) => Some(value.to_string().into()),
        Data::Float(value) => Some(super::super::template::python::float_text(*value).into()),
        Data::Bool(value) => Some(if *value { "True" } else { "False" }.into()),
        _ => None,
    }
}
