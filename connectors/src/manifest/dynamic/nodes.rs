//! Values put into a tree of the manifest; everything beside them stays shared.

use std::sync::Arc;

use super::super::{
    template::Python,
    yaml::{Data, Node, Place},
};

/// A value as part of a manifest that stands at `place`.
pub(super) fn node(value: &Python, place: Place) -> Arc<Node> {
    let list = |items: &[Python]| Data::List(items.iter().map(|item| node(item, place)).collect());
    let data = match value {
        Python::None => Data::Null,
        Python::Bool(value) => Data::Bool(*value),
        Python::Int(value) => Data::Int(*value),
        Python::Float(value) => Data::Float(*value),
        Python::List(items) | Python::Tuple(items) | Python::Set(items) => list(items),
        Python::Dict(members) => {
            Data::Map(members.iter().map(|(key, value)| (key.key_text().into(), node(value, place))).collect())
        }
        Python::Text(_) | Python::Bytes(_) | Python::BigInt(_) => Data::Text(value.text().into()),
    };
    Node::new(data, place)
}

/// A value on its way into a tree.
pub(super) struct Placed<'a> {
    pub(super) value: &'a Arc<Node>,
    /// Makes what is missing on the way.
    pub(super) creates: bool,
}

impl Placed<'_> {
    /// The tree with the value at every place that `path` names; `*` names every member or item.
    pub(super) fn at(&self, tree: &Arc<Node>, path: &[String]) -> Arc<Node> {
        match self.set(tree, path) {
            Some(changed) => changed,
            None if self.creates => self.made(tree, path),
            None => Arc::clone(tree),
        }
    }

    /// None when the path leads nowhere.
    fn set(&self, tree: &Arc<Node>, path: &[String]) -> Option<Arc<Node>> {
        let Some((step, rest)) = path.split_first() else { return Some(Arc::clone(self.value)) };
        let mut is_found = false;
        let mut change = |old: &Arc<Node>, is_meant: bool| {
            let changed = if is_meant { self.set(old, rest) } else { None };
            is_found |= changed.is_some();
            changed.unwrap_or_else(|| Arc::clone(old))
        };
        let data = match &tree.data {
            Data::Map(members) => {
                let members: Vec<_> = members
                    .iter()
                    .map(|(key, old)| (Arc::clone(key), change(old, step == "*" || **key == **step)))
                    .collect();
                Data::Map(members)
            }
            Data::List(items) => {
                let items = items.iter().enumerate();
                Data::List(items.map(|(index, old)| change(old, step == "*" || step.parse() == Ok(index))).collect())
            }
            _ => return None,
        };
        // Every component has its parents' parameters, also where the manifest writes none.
        if !is_found && matches!(path, [own, _] if own == "$parameters") {
            return Some(self.made(tree, path));
        }
        is_found.then(|| Node::new(data, tree.place))
    }

    fn made(&self, tree: &Arc<Node>, path: &[String]) -> Arc<Node> {
        let Some((step, rest)) = path.split_first() else { return Arc::clone(self.value) };
        let empty = Node::new(Data::Map(Vec::new()), tree.place);
        let data = match &tree.data {
            Data::List(items) if step.parse::<usize>().is_ok_and(|index| index <= items.len()) => {
                let index = step.parse().unwrap_or(items.len());
                let mut items = items.clone();
                let inner = self.made(items.get(index).unwrap_or(&empty), rest);
                if index == items.len() {
                    items.push(inner)
                } else {
                    items[index] = inner
                }
                Data::List(items)
            }
            Data::Map(members) => {
                let mut members = members.clone();
                match members.iter_mut().find(|(key, _)| **key == **step) {
                    Some((_, old)) => *old = self.made(old, rest),
                    None => members.push((step.as_str().into(), self.made(&empty, rest))),
                }
                Data::Map(members)
            }
            _ => Data::Map(vec![(step.as_str().into(), self.made(&empty, rest))]),
        };
        Node::new(data, tree.place)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::yaml, *};

    /// Facts taken from `dpath.set` and `dpath.new`.
    #[test]
    fn values_go_where_their_paths_lead() {
        let facts = [
            ("{a: {b: 1}}", "a/b", false, r#"{"a":{"b":9}}"#),
            ("{a: {b: 1}}", "a/c", false, r#"{"a":{"b":1}}"#),
            ("{a: {b: 1}}", "a/c", true, r#"{"a":{"b":1,"c":9}}"#),
            ("{a: [{b: 1}, {b: 2}]}", "a/1/b", false, r#"{"a":[{"b":1},{"b":9}]}"#),
            ("{a: [{b: 1}, {b: 2}]}", "a/*/b", false, r#"{"a":[{"b":9},{"b":9}]}"#),
            ("{a: {}}", "a/x/y", true, r#"{"a":{"x":{"y":9}}}"#),
            ("{a: {}}", "a/$parameters/y", false, r#"{"a":{"$parameters":{"y":9}}}"#),
        ];
        for (text, path, creates, expected) in facts {
            let tree = yaml::parse(text).unwrap();
            let value = Node::new(Data::Int(9), tree.place);
            let path: Vec<String> = path.split('/').map(str::to_owned).collect();
            let placed = Placed { value: &value, creates }.at(&tree, &path);
            assert_eq!(placed.to_json().to_string(), expected, "{text} {path:?}");
        }
    }
}
