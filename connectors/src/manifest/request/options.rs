//! What goes into a request from several sides: settings of the manifest, pages, slices, credentials.

use super::super::{
    load::{Take, View},
    template::{Engine, Python, Scope, Template},
};
use crate::{Error, ErrorKind, Result};

/// The part of a request that a value goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The query.
    Query,
    /// A header.
    Header,
    /// The form.
    Form,
    /// The JSON body.
    Json,
}

/// `RequestOption`: where a value goes.
#[derive(Clone, Debug)]
pub(crate) struct RequestOption {
    target: Target,
    /// One name, or the path to a nested member of the JSON body.
    path: Vec<Template>,
}

impl RequestOption {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        let target = match view.required_text("inject_into")?.as_str() {
            "request_parameter" => Target::Query,
            "header" => Target::Header,
            "body_data" => Target::Form,
            "body_json" => Target::Json,
            other => return Err(view.problem(format!("`inject_into` cannot be `{other}`"))),
        };
        let path = match (view.template("field_name")?, view.templates("field_path")?) {
            (Some(name), None) => vec![name],
            (None, Some(path)) if target == Target::Json && !path.is_empty() => path,
            (None, Some(_)) => return Err(view.problem("`field_path` works for `body_json` only")),
            _ => return Err(view.problem("a RequestOption needs either `field_name` or `field_path`")),
        };
        Ok(Self { target, path })
    }

    /// A header called `name`.
    pub(crate) fn header(name: Template) -> Self {
        Self { target: Target::Header, path: vec![name] }
    }

    /// Puts `value` where the option says.
    ///
    /// # Errors
    /// As for [`Template::value`].
    pub(crate) fn inject(&self, engine: &Engine, scope: &Scope, value: Python, into: &mut Injections) -> Result<()> {
        let path = self.path.iter().map(|step| step.text(engine, scope)).collect::<Result<Vec<_>>>()?;
        into.fields_mut(self.target).set(&path, value);
        Ok(())
    }
}

/// Values for each part of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Injections {
    pub(crate) query: Fields,
    pub(crate) headers: Fields,
    pub(crate) form: Fields,
    pub(crate) json: Fields,
}

impl Injections {
    fn fields_mut(&mut self, target: Target) -> &mut Fields {
        match target {
            Target::Query => &mut self.query,
            Target::Header => &mut self.headers,
            Target::Form => &mut self.form,
            Target::Json => &mut self.json,
        }
    }

    /// Adds what another side injects.
    ///
    /// # Errors
    /// `Invalid` when both set the same name.
    pub(crate) fn merge(&mut self, other: Self) -> Result<()> {
        self.query.merge(other.query, false)?;
        self.headers.merge(other.headers, false)?;
        self.form.merge(other.form, false)?;
        self.json.merge(other.json, true)
    }

    /// Adds what another side injects; that side wins.
    pub(crate) fn overlay(&mut self, other: &Self) {
        for target in [Target::Query, Target::Header, Target::Form, Target::Json] {
            let fields = match target {
                Target::Query => &other.query,
                Target::Header => &other.headers,
                Target::Form => &other.form,
                Target::Json => &other.json,
            };
            for (name, value) in &fields.0 {
                self.fields_mut(target).set(std::slice::from_ref(name), value.clone());
            }
        }
    }
}

/// Named values in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(pub(crate) Vec<(String, Python)>);

impl Fields {
    /// True without any.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets the value at `path`, making objects on the way.
    pub(crate) fn set(&mut self, path: &[String], value: Python) {
        let [name, rest @ ..] = path else { return };
        let at = self.0.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            self.0.push((name.clone(), Python::Dict(Vec::new())));
            self.0.len() - 1
        });
        set_nested(&mut self.0[at].1, rest, value);
    }

    /// Adds `other`; with `allows_same`, equal values and objects may meet.
    ///
    /// # Errors
    /// `Invalid` when both set the same name.
    pub(crate) fn merge(&mut self, other: Self, allows_same: bool) -> Result<()> {
        for (name, value) in other.0 {
            match self.0.iter_mut().find(|(known, _)| *known == name) {
                None => self.0.push((name, value)),
                Some((_, present)) => {
                    merge_values(present, value, allows_same).map_err(|path| collision(&format!("{name}{path}")))?
                }
            }
        }
        Ok(())
    }

    /// As an object.
    pub(crate) fn into_python(self) -> Python {
        Python::Dict(self.0.into_iter().map(|(name, value)| (Python::Text(name), value)).collect())
    }
}

fn collision(name: &str) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format!("two parts of the manifest set `{name}` of the same request: remove one of them"),
    )
}

fn set_nested(slot: &mut Python, path: &[String], value: Python) {
    let [name, rest @ ..] = path else {
        *slot = value;
        return;
    };
    if !matches!(slot, Python::Dict(_)) {
        *slot = Python::Dict(Vec::new());
    }
    let Python::Dict(members) = slot else { return };
    let at =
        members.iter().position(|(key, _)| matches!(key, Python::Text(known) if known == name)).unwrap_or_else(|| {
            members.push((Python::Text(name.clone()), Python::Dict(Vec::new())));
            members.len() - 1
        });
    set_nested(&mut members[at].1, rest, value);
}

/// Merges `new` into `present`; the error is the path below at which they differ.
fn merge_values(present: &mut Python, new: Python, allows_same: bool) -> std::result::Result<(), String> {
    if !allows_same {
        return Err(String::new());
    }
    match (present, new) {
        (Python::Dict(members), Python::Dict(others)) => {
            for (key, value) in others {
                match members.iter_mut().find(|(known, _)| *known == key) {
                    None => members.push((key, value)),
                    Some((_, present)) => {
                        merge_values(present, value, true).map_err(|path| format!(".{}{path}", key.text()))?
                    }
                }
            }
            Ok(())
        }
        (present, new) if *present == new => Ok(()),
        _ => Err(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_members_are_made_and_merged() {
        let mut fields = Fields::default();
        fields.set(&["a".into(), "b".into()], Python::Int(1));
        let mut other = Fields::default();
        other.set(&["a".into(), "c".into()], Python::Int(2));
        fields.merge(other, true).unwrap();
        assert_eq!(fields.clone().into_python().to_json(), r#"{"a":{"b":1,"c":2}}"#);
        let mut clash = Fields::default();
        clash.set(&["a".into(), "b".into()], Python::Int(9));
        assert!(fields.merge(clash, true).unwrap_err().to_string().contains("`a.b`"));
    }
}
