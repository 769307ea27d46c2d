//! `$ref` and `#/…`: every reference to the same part shares it.

use std::{collections::HashMap, sync::Arc};

use super::super::yaml::{Data, MAX_DEPTH, Node};
use crate::Problem;

/// The tree with all references resolved.
///
/// # Errors
/// Every reference that leads nowhere or back to itself.
pub(super) fn resolve(root: &Arc<Node>) -> Result<Arc<Node>, Vec<Problem>> {
    let mut resolver = Resolver {
        root: Arc::clone(root),
        done: HashMap::new(),
        targets: HashMap::new(),
        open: Vec::new(),
        level: 0,
        problems: Vec::new(),
    };
    let resolved = resolver.node(root);
    if resolver.problems.is_empty() && resolved.size > MAX_NODES {
        let message = format!(
            "references and aliases make more than {MAX_NODES} parts of this manifest: one that names itself several times \
             over and over grows without end"
        );
        resolver.problem(root, message);
    }
    if resolver.problems.is_empty() { Ok(resolved) } else { Err(resolver.problems) }
}

/// Parts that a manifest may have once every reference is written out. They are shared, but some are copied later on: the
/// largest published manifests come to a tenth of it.
const MAX_NODES: u64 = 5_000_000;

struct Resolver {
    root: Arc<Node>,
    /// Resolved nodes by the node they come from.
    done: HashMap<*const Node, Arc<Node>>,
    /// Resolved targets by reference.
    targets: HashMap<Arc<str>, Arc<Node>>,
    /// References being resolved, outermost first.
    open: Vec<Arc<str>>,
    /// Nodes being resolved inside each other.
    level: u32,
    problems: Vec<Problem>,
}

impl Resolver {
    fn node(&mut self, node: &Arc<Node>) -> Arc<Node> {
        if let Some(done) = self.done.get(&Arc::as_ptr(node)) {
            return Arc::clone(done);
        }
        self.level += 1;
        let resolved = if self.level > MAX_DEPTH { self.too_deep(node) } else { self.resolved(node) };
        self.level -= 1;
        // A chain of references can be as long as it likes where the parts that it leads through are done already.
        if resolved.depth > MAX_DEPTH { self.too_deep(node) } else { resolved }
    }

    fn too_deep(&mut self, node: &Node) -> Arc<Node> {
        let message = format!("its references lead through more than {MAX_DEPTH} levels");
        if self.problems.is_empty() {
            self.problem(node, message);
        }
        Node::new(Data::Null, node.place)
    }

    fn resolved(&mut self, node: &Arc<Node>) -> Arc<Node> {
        let resolved = match &node.data {
            Data::Text(text) if text.starts_with("#/") => return self.reference(text, node),
            Data::List(items) => {
                let new: Vec<_> = items.iter().map(|item| self.node(item)).collect();
                if same(&new, items) { Arc::clone(node) } else { Node::new(Data::List(new), node.place) }
            }
            Data::Map(members) => self.map(node, members),
            _ => Arc::clone(node),
        };
        // Stand-ins are kept as well: with a problem nothing comes of it, and to look again and again would take for ever.
        self.done.insert(Arc::as_ptr(node), Arc::clone(&resolved));
        resolved
    }

    fn map(&mut self, node: &Arc<Node>, members: &[(Arc<str>, Arc<Node>)]) -> Arc<Node> {
        let own: Vec<(Arc<str>, Arc<Node>)> = members
            .iter()
            .filter(|(key, _)| &**key != "$ref")
            // Settings values may look like references.
            .map(|(key, value)| {
                (Arc::clone(key), if &**key == "config_overrides" { Arc::clone(value) } else { self.node(value) })
            })
            .collect();
        let Some(reference) = node.get("$ref") else {
            let is_same = own.iter().zip(members).all(|((_, new), (_, old))| Arc::ptr_eq(new, old));
            return if is_same { Arc::clone(node) } else { Node::new(Data::Map(own), node.place) };
        };
        let target = self.node(reference);
        let Data::Map(referenced) = &target.data else { return target };
        if own.is_empty() {
            return target;
        }
        let mut merged: Vec<(Arc<str>, Arc<Node>)> = referenced.clone();
        for (key, value) in own {
            match merged.iter_mut().find(|(known, _)| *known == key) {
                Some(slot) => slot.1 = value,
                None => merged.push((key, value)),
            }
        }
        Node::new(Data::Map(merged), node.place)
    }

    fn reference(&mut self, reference: &Arc<str>, node: &Arc<Node>) -> Arc<Node> {
        if let Some(target) = self.targets.get(reference) {
            return Arc::clone(target);
        }
        if self.open.contains(reference) {
            let chain = self.open.iter().map(|open| &**open).chain([&**reference]).collect::<Vec<_>>().join(" -> ");
            self.problem(node, format!("the reference leads back to itself: {chain}"));
            return Arc::clone(node);
        }
        let Some(raw) = look_up(&self.root, &reference[2..]) else {
            self.problem(node, format!("there is nothing at `{reference}`"));
            return Arc::clone(node);
        };
        self.open.push(Arc::clone(reference));
        let target = self.node(&raw);
        self.open.pop();
        self.targets.insert(Arc::clone(reference), Arc::clone(&target));
        target
    }

    fn problem(&mut self, node: &Node, message: String) {
        self.problems.push(Problem { place: format!("{}:{}", node.place.line, node.place.column), message });
    }
}

fn same(new: &[Arc<Node>], old: &[Arc<Node>]) -> bool {
    new.iter().zip(old).all(|(new, old)| Arc::ptr_eq(new, old))
}

/// Follows `path`: at each level the whole rest is tried as a key first, then the part up to the next `/`.
fn look_up(root: &Arc<Node>, path: &str) -> Option<Arc<Node>> {
    let (mut node, mut rest) = (root, path);
    while !rest.is_empty() {
        if let Some(found) = node.get(rest) {
            return Some(Arc::clone(found));
        }
        let (head, tail) = rest.split_once('/').unwrap_or((rest, ""));
        node = match &node.data {
            Data::List(items) => items.get(head.parse::<usize>().ok()?)?,
            _ => node.get(head)?,
        };
        rest = tail;
    }
    Some(Arc::clone(node))
}

#[cfg(test)]
mod tests {
    use super::{super::super::yaml, *};

    fn resolved(text: &str) -> Result<String, String> {
        let root = yaml::parse(text).unwrap();
        resolve(&root)
            .map(|node| node.to_json().to_string())
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    /// Facts taken from the reference.
    #[test]
    fn references_resolve_as_in_the_reference() {
        assert_eq!(
            resolved("a: {x: 1, y: 2}\nb: {$ref: '#/a', y: 3, z: 4}").unwrap(),
            r#"{"a":{"x":1,"y":2},"b":{"x":1,"y":3,"z":4}}"#
        );
        assert_eq!(resolved("a: 5\nb: '#/a'\nc: ['#/a', '#/b']").unwrap(), r#"{"a":5,"b":5,"c":[5,5]}"#);
        assert_eq!(resolved("n: {path: 1}\nn/path: 2\nv: '#/n/path'").unwrap(), r#"{"n":{"path":1},"n/path":2,"v":2}"#);
        assert_eq!(resolved("l: [{a: 1}, {a: 2}]\nv: '#/l/1/a'").unwrap(), r##"{"l":[{"a":1},{"a":2}],"v":2}"##);
        assert_eq!(
            resolved("a: {$ref: '#/b'}\nb: {c: 1}\nd: {$ref: '#/a', e: 2}").unwrap(),
            r#"{"a":{"c":1},"b":{"c":1},"d":{"c":1,"e":2}}"#
        );
        assert_eq!(
            resolved("check: {config_overrides: {x: '#/nowhere'}}").unwrap(),
            r##"{"check":{"config_overrides":{"x":"#/nowhere"}}}"##
        );
    }

    #[test]
    fn a_reference_to_nothing_or_to_itself_is_named_with_its_line() {
        assert_eq!(resolved("a: 1\nb: '#/c'").unwrap_err(), "2:4: there is nothing at `#/c`");
        assert!(resolved("a: '#/b'\nb: '#/a'").unwrap_err().contains("leads back to itself: #/b -> #/a -> #/b"));
        assert!(resolved("a: {b: {$ref: '#/a'}}").unwrap_err().contains("leads back to itself"));
    }

    #[test]
    fn a_manifest_that_grows_without_end_is_refused() {
        let level = |number: usize| format!("l{}: [{}]\n", number + 1, vec![format!("'#/l{number}'"); 10].join(", "));
        let references: String = (0..12).map(level).collect();
        assert!(resolved(&format!("l0: x\n{references}")).unwrap_err().contains("grows without end"));
        let level =
            |number: usize| format!("l{0}: &l{0} [{1}]\n", number + 1, vec![format!("*l{number}"); 10].join(", "));
        let aliases: String = (0..12).map(level).collect();
        assert!(resolved(&format!("l0: &l0 x\n{aliases}")).unwrap_err().contains("grows without end"));
    }

    #[test]
    fn references_that_lead_deeper_and_deeper_are_refused() {
        let chain = |numbers: &mut dyn Iterator<Item = usize>| -> String {
            numbers.map(|number| format!("l{}: {{x: '#/l{number}'}}\n", number + 1)).collect()
        };
        for text in [chain(&mut (0..2_000)), chain(&mut (0..2_000).rev())] {
            assert!(resolved(&format!("{text}l0: x\n")).unwrap_err().contains("more than 200 levels"));
        }
        let aliases: String = (0..20_000).map(|number| format!("l{0}: &l{0} [*l{number}]\n", number + 1)).collect();
        assert!(yaml::parse(&format!("l0: &l0 x\n{aliases}")).unwrap_err().message.contains("200 levels"));
    }

    #[test]
    fn a_part_that_is_referenced_often_is_kept_once() {
        let root = yaml::parse("base: {schema: {x: 1}}\na: {$ref: '#/base', n: 1}\nb: {$ref: '#/base', n: 2}").unwrap();
        let root = resolve(&root).unwrap();
        let schema = |name: &str| Arc::as_ptr(root.get(name).unwrap().get("schema").unwrap());
        assert_eq!(schema("a"), schema("b"));
    }
}
