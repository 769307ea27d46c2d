//! Goes through every component of a manifest.

use std::{collections::HashSet, sync::Arc};

use super::{
    super::{
        load::View,
        yaml::{Data, Node},
    },
    Finding, Severity, pages, secrets, streams, templates, vocabulary,
};

/// Fields that hold plain data, or what is not examined as components.
const PLAIN: [&str; 14] = [
    "$parameters",
    "definitions",
    "metadata",
    "schemas",
    "schema",
    "connection_specification",
    "advanced_auth",
    "config_overrides",
    "request_body",
    "request_body_data",
    "request_body_json",
    "request_headers",
    "request_parameters",
    "default_values",
];

/// Mappings without a type whose members are components.
const HOLDERS: [&str; 7] = ["authenticators", "x-listbackup", "write", "read_one", "create", "update", "attachments"];

/// What the examiners share.
pub(super) struct Examination<'l> {
    findings: Vec<Finding>,
    seen: HashSet<*const Node>,
    /// The manifest.
    pub(super) source: View<'l>,
    loads: bool,
}

impl Examination<'_> {
    /// Notes what was found at `node`.
    pub(super) fn note(&mut self, severity: Severity, node: &Node, path: &str, message: String, hint: &str) {
        let (line, column) = (node.place.line, node.place.column);
        let finding = Finding { severity, line, column, path: path.to_owned(), message, hint: hint.to_owned() };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Notes a suspicion about the field called `field`, or about the component when it has no such field.
    pub(super) fn suspect(&mut self, view: &View<'_>, field: &str, message: String, hint: &str) {
        let node = view.node().get(field).unwrap_or(view.node());
        let path = if view.node().get(field).is_some() { view.path_of(field) } else { view.path().to_owned() };
        self.note(Severity::Suspicious, node, &path, message, hint);
    }
}

/// Everything that the walk finds. `loads` says that the loader refuses nothing.
pub(super) fn examine(source: &View<'_>, loads: bool) -> Vec<Finding> {
    let read = source.loader().fields_read();
    let mut examination = Examination { findings: Vec::new(), seen: HashSet::new(), source: source.clone(), loads };
    examination.component(source, &read);
    streams::check(&mut examination);
    secrets::settings(&mut examination);
    templates::examine(&mut examination);
    examination.findings
}

impl Examination<'_> {
    fn component(&mut self, view: &View<'_>, read: &HashSet<(*const Node, String)>) {
        let Data::Map(members) = &view.node().data else { return };
        if !self.seen.insert(Arc::as_ptr(view.node())) {
            return;
        }
        if !view.kind().is_empty() {
            self.words(view, members, read);
            streams::examine(self, view);
            pages::examine(self, view);
            secrets::examine(self, view);
        }
        for (name, node) in members {
            if PLAIN.contains(&&**name) {
                continue;
            }
            match &node.data {
                Data::List(items) if items.iter().any(|item| matches!(item.data, Data::Map(_))) => {
                    for child in view.children(name) {
                        self.child(&child, name, read);
                    }
                }
                Data::Map(_) => {
                    if let Some(child) = view.child(name) {
                        self.child(&child, name, read);
                    }
                }
                _ => {}
            }
        }
    }

    /// A mapping is a component when it has a type, its own or the usual one of its place.
    fn child(&mut self, view: &View<'_>, field: &str, read: &HashSet<(*const Node, String)>) {
        let is_component = !matches!(view.kind(), "" | "object");
        if is_component || HOLDERS.contains(&field) {
            self.component(view, read);
        }
    }

    /// The words of a component: its type, and the names of its fields.
    fn words(&mut self, view: &View<'_>, members: &[(Arc<str>, Arc<Node>)], read: &HashSet<(*const Node, String)>) {
        let kind = view.kind();
        if !vocabulary::has_type(kind) {
            if view.node().get("class_name").is_none() {
                let meant = vocabulary::nearest_type(kind).map(|meant| format!("did you mean `{meant}`?"));
                let hint =
                    meant.unwrap_or_else(|| "use a component of the language, or plug it in by `class_name`".into());
                let message = format!("the language has no component `{kind}`");
                self.note(Severity::Unsupported, view.node(), view.path(), message, &hint);
            }
            return;
        }
        let address = Arc::as_ptr(view.node());
        let is_used = read.iter().any(|(node, _)| *node == address);
        for (name, node) in members {
            let path = view.path_of(name);
            if !vocabulary::has_field(kind, name) {
                let meant = vocabulary::nearest_field(kind, name).map(|meant| format!("did you mean `{meant}`?"));
                let hint = meant.unwrap_or_else(|| "nothing reads it: take it out, or look its name up".into());
                let message = format!("`{name}` is no field of this component");
                self.note(Severity::Suspicious, node, &path, message, &hint);
            } else if self.loads
                && is_used
                && is_telling(kind, name, node)
                && !read.contains(&(address, name.to_string()))
            {
                let message = format!("`{name}` of `{kind}` has no effect here");
                self.note(Severity::Suspicious, node, &path, message, "the manifest runs as if it were not there");
            }
        }
    }
}

/// Fields that change nothing of what is read, and those that are read in another way.
fn is_telling(kind: &str, name: &str, node: &Node) -> bool {
    const SILENT: [(&str, &str); 10] = [
        ("*", "type"),
        ("*", "name"),
        ("*", "title"),
        ("*", "description"),
        ("*", "use_cache"),
        ("*", "use_tcp_keepalive"),
        ("Spec", "documentation_url"),
        ("DeclarativeSource", "version"),
        ("HttpRequester", "connect_timeout_in_seconds"),
        ("HttpRequester", "read_timeout_in_seconds"),
    ];
    let is_own = name.starts_with('$') || name.starts_with("x-") || PLAIN.contains(&name);
    !is_own && !node.is_falsy() && !SILENT.iter().any(|(of, field)| *field == name && ["*", kind].contains(of))
}
