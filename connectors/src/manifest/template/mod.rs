//! Templates: text with `{{ … }}` inside, evaluated as the reference evaluates them.
//!
//! A template is rendered to text, and the text is read as a Python literal; a text that is no literal stays text.

use std::{cell::RefCell, collections::BTreeSet, sync::Arc};

use minijinja::{Environment, ErrorKind, UndefinedBehavior, Value};

use crate::{Error, ErrorKind as Kind, Result};

mod arguments;
mod bounds;
mod expressions;
mod filters;
mod lists;
mod lower;
mod macros;
mod methods;
mod namespaces;
mod only;
mod operators;
mod printf;
pub(crate) mod python;
mod scope;
pub(crate) mod values;

pub(crate) use expressions::expression;
pub(crate) use only::Only;
pub(crate) use python::Python;
use scope::Names;
pub(crate) use scope::Scope;
use values::Capture;

/// Percent-encodes a name or value of a form or query.
pub(crate) fn percent_encode(text: &str) -> String {
    filters::percent_encode(text, "", true)
}

/// Steps that one evaluation may take.
const MAX_STEPS: u64 = 2_000_000;
/// Calls inside calls that one evaluation may have.
const MAX_DEPTH: usize = 64;
/// Bytes that one evaluation may write.
const MAX_OUTPUT_BYTES: usize = 4 << 20;

/// The name under which a capture is found while rendering.
const CAPTURE: &str = "__capture";

/// Every name that some place of the language offers to templates.
const KNOWN_NAMES: [&str; 27] = [
    "config",
    "parameters",
    "response",
    "headers",
    "record",
    "last_record",
    "last_page_size",
    "page_size",
    "stream_slice",
    "stream_interval",
    "stream_partition",
    "next_page_token",
    "attachment",
    "value",
    "path",
    "property",
    "session_token",
    "components_values",
    "creation_response",
    "polling_response",
    "download_target",
    "request_url",
    "raw_schema",
    "query_properties",
    "stream_template",
    "stream_template_config",
    "stream_parameters",
];

/// Compiles templates while a manifest is loaded.
pub(crate) struct Compiler {
    env: RefCell<Environment<'static>>,
}

/// Evaluates the templates of one manifest.
pub(crate) struct Engine {
    env: Environment<'static>,
}

/// One text of the manifest, ready to be evaluated.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    source: Arc<str>,
    /// The compiled form's name; `None` for a text without `{{`.
    compiled: Option<Arc<str>>,
    /// True for `{{ … }}` with nothing around it.
    is_one_expression: bool,
    /// Names that must come from the scope.
    names: Arc<BTreeSet<String>>,
    parameters: Value,
    /// Where it stands, for errors.
    place: Arc<str>,
}

/// What rendering gave.
enum Rendered {
    Text(String),
    /// Something missing was used: the reference takes its default.
    Missing(String),
    /// Kinds that do not go together: the reference takes the template's own text.
    Mismatch(String),
}

impl Compiler {
    /// Starts with the language's functions and filters.
    pub(crate) fn new() -> Self {
        let mut env = Environment::new();
        env.set_undefined_behavior(UndefinedBehavior::Lenient);
        env.set_fuel(Some(MAX_STEPS));
        env.set_recursion_limit(MAX_DEPTH);
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        env.set_formatter(|out, state, value| {
            let capture = state.lookup(CAPTURE);
            if capture
                .and_then(|capture| capture.downcast_object::<Capture>())
                .is_some_and(|capture| capture.keep(value))
            {
                return Ok(());
            }
            let text = values::text(value);
            bounds::allow_text(text.len())?;
            out.write_str(&text).map_err(|_| minijinja::Error::from(ErrorKind::WriteFailure))
        });
        env.set_unknown_method_callback(methods::call);
        bounds::register(&mut env);
        operators::register(&mut env);
        macros::register(&mut env);
        filters::register(&mut env);
        Self { env: RefCell::new(env) }
    }

    /// Compiles `source`, which stands at `place` and sees `parameters`. `extra` are further names it may use.
    ///
    /// # Errors
    /// What is wrong with it, with the expression.
    pub(crate) fn compile(
        &self,
        source: &Arc<str>,
        parameters: Value,
        place: &str,
        extra: &BTreeSet<String>,
    ) -> Result<Template, String> {
        let quoted = |reason: String| format!("the template `{}` cannot be used: {reason}", shortened(source));
        let plain = Template {
            source: Arc::clone(source),
            compiled: None,
            is_one_expression: false,
            names: Arc::default(),
            parameters,
            place: place.into(),
        };
        if source.contains("stream_state") {
            return Err(quoted("`stream_state` no longer exists; use `stream_interval`".into()));
        }
        if !["{{", "{%", "{#"].iter().any(|mark| source.contains(mark)) {
            return Ok(plain);
        }
        let lowered = lower::lower(source).map_err(quoted)?;
        let mut env = self.env.borrow_mut();
        if env.get_template(&lowered).is_err() {
            env.add_template_owned(lowered.clone(), lowered.clone()).map_err(|error| quoted(reason(&error)))?;
        }
        let compiled = env.get_template(&lowered).map_err(|error| quoted(reason(&error)))?;
        let is_global = |name: &str| env.globals().any(|(global, _)| global == name);
        let names: BTreeSet<String> =
            compiled.undeclared_variables(false).into_iter().filter(|name| !is_global(name)).collect();
        let unknown = names.iter().find(|name| !KNOWN_NAMES.contains(&name.as_str()) && !extra.contains(*name));
        match unknown {
            Some(name) => Err(quoted(format!("nothing is called `{name}` here"))),
            None => Ok(Template {
                is_one_expression: is_one_expression(source),
                compiled: Some(lowered.into()),
                names: Arc::new(names),
                ..plain
            }),
        }
    }

    /// True when there is no filter of that name.
    pub(crate) fn lacks_filter(&self, name: &str) -> bool {
        self.lacks(&format!("{{{{ 1|{name} }}}}"))
    }

    /// True when there is no test of that name.
    pub(crate) fn lacks_test(&self, name: &str) -> bool {
        self.lacks(&format!("{{{{ 1 is {name} }}}}"))
    }

    fn lacks(&self, probe: &str) -> bool {
        let outcome = self.env.borrow().render_str(probe, ());
        outcome.is_err_and(|error| matches!(error.kind(), ErrorKind::UnknownFilter | ErrorKind::UnknownTest))
    }

    /// Ends the loading.
    pub(crate) fn finish(self) -> Engine {
        Engine { env: self.env.into_inner() }
    }
}

fn reason(error: &minijinja::Error) -> String {
    error.detail().map_or_else(|| error.kind().to_string(), str::to_owned)
}

/// A template's text in one line of bounded length.
fn shortened(source: &str) -> String {
    let line = source.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(160) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

impl Template {
    /// The text as written.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// True when the template uses `name`.
    pub(crate) fn uses(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// True when what it gives follows from the manifest and the settings alone, and from no answer.
    pub(crate) fn is_settled(&self) -> bool {
        self.names.iter().all(|name| matches!(name.as_str(), "config" | "parameters"))
    }

    /// The value; something missing is an empty text where it is printed and an error where it is looked into.
    ///
    /// # Errors
    /// `Invalid` with the expression, its place and the reason.
    pub(crate) fn value(&self, engine: &Engine, scope: &Scope) -> Result<Python> {
        self.value_of(engine, scope, Only::Any)
    }

    /// As [`Template::value`], but only some kinds of literal count.
    ///
    /// # Errors
    /// As for [`Template::value`].
    pub(crate) fn value_of(&self, engine: &Engine, scope: &Scope, only: Only) -> Result<Python> {
        match self.render(engine, scope)? {
            Rendered::Text(text) => Ok(literal(text, only)),
            Rendered::Missing(reason) => Err(self.error(&reason)),
            Rendered::Mismatch(reason) => Ok(self.own_text(&reason)),
        }
    }

    /// The value as JSON text; a container of the page stays as it was received.
    ///
    /// # Errors
    /// As for [`Template::value`].
    pub(crate) fn json(&self, engine: &Engine, scope: &Scope, only: Only) -> Result<String> {
        if only != Only::Any || !self.is_one_expression {
            return Ok(self.value_of(engine, scope, only)?.to_json());
        }
        let capture = Arc::new(Capture::default());
        let rendered = self.render_with(engine, scope, Some(Arc::clone(&capture)))?;
        match (capture.take(), rendered) {
            (Some(json), _) => Ok(json),
            (None, Rendered::Text(text)) => Ok(literal(text, only).to_json()),
            (None, Rendered::Missing(reason)) => Err(self.error(&reason)),
            (None, Rendered::Mismatch(reason)) => Ok(self.own_text(&reason).to_json()),
        }
    }

    /// The value as text.
    ///
    /// # Errors
    /// As for [`Template::value`].
    pub(crate) fn text(&self, engine: &Engine, scope: &Scope) -> Result<String> {
        Ok(self.value(engine, scope)?.text())
    }

    /// The value of a mapping's member: `None` when it is empty or something is missing.
    ///
    /// # Errors
    /// As for [`Template::value`].
    pub(crate) fn member(&self, engine: &Engine, scope: &Scope, only: Only) -> Result<Python> {
        match self.render(engine, scope)? {
            Rendered::Text(text) if text.is_empty() => Ok(Python::None),
            Rendered::Text(text) => Ok(literal(text, only)),
            Rendered::Missing(_) => Ok(Python::None),
            Rendered::Mismatch(reason) => Ok(self.own_text(&reason)),
        }
    }

    /// Whether the condition holds; something missing makes it false.
    ///
    /// # Errors
    /// As for [`Template::value`].
    pub(crate) fn is_met(&self, engine: &Engine, scope: &Scope) -> Result<bool> {
        match self.render(engine, scope)? {
            Rendered::Text(text) => Ok(literal(text, Only::Any).is_condition_met()),
            Rendered::Missing(_) => Ok(false),
            Rendered::Mismatch(reason) => Ok(self.own_text(&reason).is_condition_met()),
        }
    }

    /// What the reference makes of kinds that do not go together: the text itself, which as a condition is true.
    fn own_text(&self, reason: &str) -> Python {
        tracing::warn!(place = %self.place, template = %shortened(&self.source), reason, "a template mixes kinds that do not go together");
        Python::Text(self.source.to_string())
    }

    fn render(&self, engine: &Engine, scope: &Scope) -> Result<Rendered> {
        self.render_with(engine, scope, None)
    }

    fn render_with(&self, engine: &Engine, scope: &Scope, capture: Option<Arc<Capture>>) -> Result<Rendered> {
        let Some(compiled) = &self.compiled else {
            return Ok(Rendered::Text(plain_text(&self.source)));
        };
        if let Some(unknown) = self.names.iter().find(|name| *name != "parameters" && scope.get(name).is_none()) {
            return Err(self.error(&format!("nothing is called `{unknown}` here")));
        }
        let names = Value::from_object(Names { scope: scope.clone(), parameters: self.parameters.clone(), capture });
        let template = engine.env.get_template(compiled).map_err(|error| self.error(&reason(&error)))?;
        match template.render(names) {
            Ok(text) if text.len() > MAX_OUTPUT_BYTES => Err(self.error("it writes more than 4 MiB")),
            Ok(text) => Ok(Rendered::Text(text)),
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&self, error: &minijinja::Error) -> Result<Rendered> {
        let reason = reason(error);
        match error.kind() {
            ErrorKind::UndefinedError | ErrorKind::UnknownMethod => Ok(Rendered::Missing(reason)),
            ErrorKind::InvalidOperation if reason.starts_with("ValueError: ") => Err(self.error(&reason)),
            ErrorKind::InvalidOperation | ErrorKind::MissingArgument | ErrorKind::TooManyArguments => {
                Ok(Rendered::Mismatch(reason))
            }
            _ => Err(self.error(&reason)),
        }
    }

    fn error(&self, reason: &str) -> Error {
        Error::new(Kind::Invalid, format!("the template `{}` failed: {reason}", shortened(&self.source)))
            .with("at", self.place.to_string())
    }
}

/// True for `{{ … }}` with nothing around it and no second one inside.
fn is_one_expression(source: &str) -> bool {
    let inner = source.trim_end_matches('\n').strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    inner.is_some_and(|inner| !["{{", "}}", "{%", "{#"].iter().any(|mark| inner.contains(mark)))
}

/// A text without templates, as the engine would print it: one line end at its end is dropped.
fn plain_text(source: &str) -> String {
    let text = if source.contains('\r') { source.replace("\r\n", "\n") } else { source.to_owned() };
    match text.strip_suffix('\n') {
        Some(shorter) => shorter.to_owned(),
        None => text,
    }
}

fn literal(text: String, only: Only) -> Python {
    match python::evaluate(&text) {
        Some(value) if only.allows(&value) => value,
        _ => Python::Text(text),
    }
}

#[cfg(test)]
mod tests;
