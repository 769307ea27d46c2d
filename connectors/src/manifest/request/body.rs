//! Parameters, headers and bodies of a request as the manifest writes them.

use super::{
    super::{
        load::{Take, View, scalar_text},
        template::{Engine, Only, Python, Scope, Template},
        yaml::{Data, Node},
    },
    options::Fields,
};
use crate::{Error, ErrorKind, Result};

/// A mapping of templates, or one template that gives a mapping.
#[derive(Clone, Debug, Default)]
pub(crate) enum Inputs {
    /// Nothing.
    #[default]
    None,
    /// One template.
    Text(Template),
    /// Named templates.
    Map(Vec<(Template, Template)>),
}

impl Inputs {
    /// Reads the field called `name`.
    pub(crate) fn load(view: &View<'_>, name: &str) -> Take<Self> {
        let Some(node) = view.field(name) else { return Ok(Self::None) };
        let Data::Map(members) = &node.data else { return Ok(view.template(name)?.map_or(Self::None, Self::Text)) };
        // Its names come into each request on their own.
        let is_list = |value: &Node| {
            value.get("type").and_then(|kind| kind.as_text()).is_some_and(|kind| &**kind == "QueryProperties")
        };
        let own = members.iter().filter(|(key, value)| &**key != "$parameters" && !is_list(value));
        let pairs = own.map(|(key, value)| {
            let step = format!("{name}.{key}");
            let Some(text) = scalar_text(value) else {
                let kind = value.get("type").and_then(|kind| kind.as_text().cloned());
                let message = match kind {
                    Some(kind) => format!("`{kind}` is not supported in `{name}`"),
                    None => format!("`{key}` in `{name}` must be text, found {}", value.kind()),
                };
                return Err(view.problem(message));
            };
            Ok((view.template_of(key, value, &step)?, view.template_of(&text, value, &step)?))
        });
        pairs.collect::<Take<Vec<_>>>().map(Self::Map)
    }

    /// The fields; empty and missing values are left out.
    ///
    /// # Errors
    /// As for [`Template::value`].
    pub(crate) fn evaluate(&self, engine: &Engine, scope: &Scope, only: Only) -> Result<Fields> {
        match self {
            Self::None => Ok(Fields::default()),
            Self::Text(template) => match template.value(engine, scope)? {
                Python::Dict(members) => Ok(Fields(
                    members
                        .into_iter()
                        .filter(|(_, value)| *value != Python::None)
                        .map(|(key, value)| (key.text(), value))
                        .collect(),
                )),
                _ => Ok(Fields::default()),
            },
            Self::Map(pairs) => {
                let mut fields = Fields::default();
                for (name, value) in pairs {
                    let value = value.member(engine, scope, only)?;
                    if value != Python::None {
                        let name = name.member(engine, scope, Only::Text)?.key_text();
                        fields.set(&[name], value);
                    }
                }
                Ok(fields)
            }
        }
    }

    /// The text of a body that is one template giving text.
    ///
    /// # Errors
    /// As for [`Template::value`].
    pub(crate) fn as_text(&self, engine: &Engine, scope: &Scope) -> Result<Option<String>> {
        match self {
            Self::Text(template) => match template.value(engine, scope)? {
                Python::Dict(_) | Python::None => Ok(None),
                other => Ok(Some(other.text())),
            },
            _ => Ok(None),
        }
    }

    /// True when a template of it uses `name`.
    pub(crate) fn uses(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Text(template) => template.uses(name),
            Self::Map(pairs) => pairs.iter().any(|(key, value)| key.uses(name) || value.uses(name)),
        }
    }

    /// True without any.
    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// A tree of templates for a JSON body.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    /// A text.
    Text(Template),
    /// Another scalar.
    Constant(Python),
    /// An object.
    Map(Vec<(Template, Tree)>),
    /// A list.
    List(Vec<Tree>),
}

impl Tree {
    /// Reads the field called `name`.
    pub(crate) fn load(view: &View<'_>, name: &str) -> Take<Option<Self>> {
        view.field(name).map(|node| Self::read(view, &node, name)).transpose()
    }

    fn read(view: &View<'_>, node: &Node, step: &str) -> Take<Self> {
        Ok(match &node.data {
            Data::Text(text) => Self::Text(view.template_of(text, node, step)?),
            Data::Map(members) => {
                let pairs = members.iter().filter(|(key, _)| &**key != "$parameters").map(|(key, value)| {
                    let step = format!("{step}.{key}");
                    Ok((view.template_of(key, value, &step)?, Self::read(view, value, &step)?))
                });
                Self::Map(pairs.collect::<Take<_>>()?)
            }
            Data::List(items) => {
                let items =
                    items.iter().enumerate().map(|(index, item)| Self::read(view, item, &format!("{step}[{index}]")));
                Self::List(items.collect::<Take<_>>()?)
            }
            _ => Self::Constant(Python::from(&node.to_json())),
        })
    }

    /// The body; members without a value are left out of objects.
    ///
    /// # Errors
    /// `Invalid` when it is no object in the end.
    pub(crate) fn evaluate(&self, engine: &Engine, scope: &Scope) -> Result<Fields> {
        let value = match self {
            Self::Text(template) => template.value(engine, scope)?,
            other => other.value(engine, scope)?,
        };
        match value {
            Python::Dict(members) => {
                Ok(Fields(members.into_iter().map(|(key, value)| (key.key_text(), value)).collect()))
            }
            Python::None => Ok(Fields::default()),
            Python::Text(text) if text.is_empty() => Ok(Fields::default()),
            _ => Err(Error::new(ErrorKind::Invalid, "`request_body_json` must give an object")),
        }
    }

    fn value(&self, engine: &Engine, scope: &Scope) -> Result<Python> {
        Ok(match self {
            Self::Text(template) => template.member(engine, scope, Only::Any)?,
            Self::Constant(value) => value.clone(),
            Self::List(items) => {
                Python::List(items.iter().map(|item| item.value(engine, scope)).collect::<Result<_>>()?)
            }
            Self::Map(pairs) => {
                let mut members = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    let value = value.value(engine, scope)?;
                    if value != Python::None {
                        members.push((key.member(engine, scope, Only::Any)?, value));
                    }
                }
                Python::Dict(members)
            }
        })
    }
}
