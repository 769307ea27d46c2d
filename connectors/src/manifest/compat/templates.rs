//! Words in templates that the language does not have: they show only when the template is used.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};

use regex::Regex;

use super::{
    super::{
        load::View,
        yaml::{Data, Node},
    },
    Severity,
    walk::Examination,
};

/// Members whose texts are no templates, or are looked at where they are used.
const SILENT: [&str; 4] = ["definitions", "schema", "spec", "metadata"];

/// `{{ … }}` and `{% … %}`, texts in quotes, filters and tests.
struct Patterns {
    code: Regex,
    quoted: Regex,
    filter: Regex,
    test: Regex,
}

static PATTERNS: LazyLock<Option<Patterns>> = LazyLock::new(|| {
    let pattern = |text| Regex::new(text).ok();
    Some(Patterns {
        code: pattern(r"(?s)\{\{.*?\}\}|\{%.*?%\}")?,
        quoted: pattern(r#"'[^']*'|"[^"]*""#)?,
        filter: pattern(r"\|\s*([A-Za-z_]\w*)")?,
        test: pattern(r"\bis\s+(?:not\s+)?([A-Za-z_]\w*)")?,
    })
});

/// Every text of the manifest that may be a template, with its node and its path.
pub(super) fn texts(source: &View<'_>) -> Vec<(Arc<Node>, String, Arc<str>)> {
    let mut todo: Vec<(Arc<Node>, String)> = vec![(Arc::clone(source.node()), String::new())];
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    while let Some((node, path)) = todo.pop() {
        if !seen.insert(Arc::as_ptr(&node)) {
            continue;
        }
        let below = |step: &str| if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") };
        match &node.data {
            Data::Map(members) => {
                let told = members.iter().filter(|(name, _)| !SILENT.contains(&&**name));
                todo.extend(told.map(|(name, child)| (Arc::clone(child), below(name))));
            }
            Data::List(items) => todo
                .extend(items.iter().enumerate().map(|(index, item)| (Arc::clone(item), format!("{path}[{index}]")))),
            Data::Text(text) => found.push((Arc::clone(&node), path, Arc::clone(text))),
            _ => {}
        }
    }
    found
}

/// Filters and tests that do not exist.
pub(super) fn examine(examination: &mut Examination<'_>) {
    let Some(patterns) = &*PATTERNS else { return };
    let source = examination.source.clone();
    let compiler = &source.loader().compiler;
    for (node, path, text) in texts(&source) {
        for code in patterns.code.find_iter(&text) {
            let code = patterns.quoted.replace_all(code.as_str(), "''");
            let names = |pattern: &Regex| -> HashSet<String> {
                pattern.captures_iter(&code).map(|found| found[1].to_owned()).collect()
            };
            let filters = names(&patterns.filter).into_iter().filter(|name| compiler.lacks_filter(name));
            let tests = names(&patterns.test).into_iter().filter(|name| compiler.lacks_test(name));
            let lacking = filters.map(|name| ("filter", name)).chain(tests.map(|name| ("test", name)));
            for (kind, name) in lacking.collect::<Vec<_>>() {
                let message = format!("the template uses the {kind} `{name}`, which the language does not have");
                examination.note(Severity::Unsupported, &node, &path, message, "use another, or a macro");
            }
        }
    }
}
