//! From the manifest's text to typed parts: references, parameters, default types, and every problem at once.

mod parameters;
mod refs;
mod view;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeSet, HashMap, HashSet},
    rc::Rc,
    sync::Arc,
};

use minijinja::Value;
use view::Members;
pub(crate) use view::{Kept, Skip, Take, View, scalar_text};

use super::{
    components::Components,
    stream::Stream,
    template::{Compiler, Template},
    yaml::{self, Data, Node},
};
use crate::Problem;

/// Parameters of components that are kept while they may be asked for again.
const PARAMETERS_KEPT: usize = 32;

/// What loading needs in every corner: the template compiler and the list of problems.
pub(crate) struct Loader {
    /// Compiles templates.
    pub(crate) compiler: Compiler,
    /// Components whose code an embedder brings.
    pub(crate) components: Components,
    file: String,
    /// With line and column.
    problems: RefCell<Vec<((u32, u32), Problem)>>,
    /// Those of single streams, which the others can be read without.
    aside: RefCell<Vec<((u32, u32), Problem)>>,
    /// Names that parents give to the templates of their children.
    extra_names: BTreeSet<String>,
    /// Streams loaded already, by the node they come from: parents are shared by their children.
    streams: RefCell<HashMap<*const Node, Rc<Loaded>>>,
    /// The addresses that requests go to by the manifest's or the settings' own word.
    declared: RefCell<Vec<Template>>,
    /// True while parts are loaded that hold what an answer said.
    is_told: Cell<bool>,
    /// The parameters of components as templates see them, made once for all that share them.
    parameters: RefCell<Vec<(Arc<Members>, Value)>>,
    /// Nodes that no tree holds: an address must not be used again while it is known.
    held: RefCell<Vec<Arc<Node>>>,
    /// What tells the first OAuth authenticator with a grant of a person from others.
    first_grant: RefCell<Option<String>>,
    /// Fields that were asked for, by their component; `None` where nobody wants to know.
    read: Option<RefCell<HashSet<(*const Node, String)>>>,
}

/// What it takes to load parts of a manifest after the rest: its file, and the names that parents give.
#[derive(Clone, Debug)]
pub(crate) struct Later {
    file: String,
    extra_names: BTreeSet<String>,
    components: Components,
}

/// A stream's state while its manifest is loaded.
pub(crate) enum Loaded {
    /// Being loaded: to meet it again means that it is its own ancestor.
    Open,
    /// Done; `None` when it has problems.
    Done(Option<Arc<Stream>>),
}

impl Loader {
    /// Reads `text` (of the file called `file`) and resolves its references.
    ///
    /// # Errors
    /// Everything that is wrong with YAML and references.
    pub(crate) fn read(file: &str, text: &str) -> Result<(Self, Arc<Node>), Vec<Problem>> {
        let in_file = |problem: Problem| Problem { place: format!("{file}:{}", problem.place), ..problem };
        let root = yaml::parse(text).map_err(|problem| vec![in_file(problem)])?;
        let root = refs::resolve(&root).map_err(|problems| problems.into_iter().map(in_file).collect::<Vec<_>>())?;
        let mut extra_names = BTreeSet::new();
        collect_extra_names(&root, &mut extra_names, &mut std::collections::HashSet::new());
        let loader = Self {
            compiler: Compiler::new(),
            components: Components::new(),
            file: file.to_owned(),
            problems: RefCell::default(),
            aside: RefCell::default(),
            extra_names,
            streams: RefCell::default(),
            declared: RefCell::default(),
            is_told: Cell::new(false),
            parameters: RefCell::default(),
            held: RefCell::default(),
            first_grant: RefCell::default(),
            read: None,
        };
        Ok((loader, root))
    }

    /// For loading parts later.
    pub(crate) fn later(&self) -> Later {
        Later { file: self.file.clone(), extra_names: self.extra_names.clone(), components: self.components.clone() }
    }

    /// A loader for parts of the same file.
    pub(crate) fn again(later: &Later) -> Self {
        Self {
            compiler: Compiler::new(),
            components: later.components.clone(),
            file: later.file.clone(),
            problems: RefCell::default(),
            aside: RefCell::default(),
            extra_names: later.extra_names.clone(),
            streams: RefCell::default(),
            declared: RefCell::default(),
            is_told: Cell::new(false),
            parameters: RefCell::default(),
            held: RefCell::default(),
            first_grant: RefCell::default(),
            read: None,
        }
    }

    /// True for the first grant that is loaded, each time that it is met.
    pub(crate) fn is_first_grant(&self, grant: &str) -> bool {
        *self.first_grant.borrow_mut().get_or_insert_with(|| grant.to_owned()) == grant
    }

    /// Keeps `node` as long as the loader.
    pub(crate) fn hold(&self, node: &Arc<Node>) {
        self.held.borrow_mut().push(Arc::clone(node));
    }

    /// With components whose code an embedder brings.
    pub(crate) fn with(mut self, components: &Components) -> Self {
        self.components = components.clone();
        self
    }

    /// The same, noting which fields are asked for.
    pub(crate) fn noting_reads(mut self) -> Self {
        self.read = Some(RefCell::default());
        self
    }

    /// Notes that the field called `name` was asked for.
    pub(crate) fn note_read(&self, node: &Arc<Node>, name: &str) {
        if let Some(read) = &self.read {
            read.borrow_mut().insert((Arc::as_ptr(node), name.to_owned()));
        }
    }

    /// The fields that were asked for so far, by their component.
    pub(crate) fn fields_read(&self) -> HashSet<(*const Node, String)> {
        self.read.as_ref().map(|read| read.borrow().clone()).unwrap_or_default()
    }

    /// The manifest as a component.
    pub(crate) fn root<'l>(&'l self, node: &Arc<Node>) -> View<'l> {
        View::root(self, node)
    }

    /// Says whether what is loaded from now on holds what an answer said.
    pub(crate) fn tell(&self, is_told: bool) {
        self.is_told.set(is_told);
    }

    /// Notes the address of a requester; false when it is the word of an answer.
    pub(crate) fn declare(&self, address: &Template) -> bool {
        let is_declared = address.is_settled() && !self.is_told.get();
        if is_declared {
            self.declared.borrow_mut().push(address.clone());
        }
        is_declared
    }

    /// The addresses noted so far.
    pub(crate) fn declared(&self) -> Vec<Template> {
        self.declared.borrow().clone()
    }

    /// The parameters as templates see them.
    fn shown_parameters(&self, parameters: &Arc<Members>, make: impl FnOnce() -> Value) -> Value {
        // Components beside each other share theirs: the last ones are those asked for again.
        let mut known = self.parameters.borrow_mut();
        if let Some((_, value)) = known.iter().rev().find(|(known, _)| Arc::ptr_eq(known, parameters)) {
            return value.clone();
        }
        let value = make();
        if known.len() >= PARAMETERS_KEPT {
            known.clear();
        }
        known.push((Arc::clone(parameters), value.clone()));
        value
    }

    /// Notes a problem at `node`.
    pub(crate) fn note(&self, node: &Node, path: &str, message: String) {
        let place = format!(
            "{}:{}:{}{}{path}",
            self.file,
            node.place.line,
            node.place.column,
            if path.is_empty() { "" } else { " " }
        );
        let problem = ((node.place.line, node.place.column), Problem { place, message });
        let mut problems = self.problems.borrow_mut();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    /// How many problems there are, for [`Loader::set_aside`].
    pub(crate) fn count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// Sets the problems after the first `count` aside: they are one stream's own.
    pub(crate) fn set_aside(&self, count: usize) -> Vec<Problem> {
        let mut own = self.problems.borrow_mut().split_off(count);
        own.sort_by_key(|(place, _)| *place);
        let problems = own.iter().map(|(_, problem)| problem.clone()).collect();
        self.aside.borrow_mut().append(&mut own);
        problems
    }

    /// Takes back what was set aside: no stream is left to be read without.
    pub(crate) fn take_back(&self) {
        self.problems.borrow_mut().append(&mut self.aside.borrow_mut());
    }

    /// The stream loaded from `node`, if it was met before.
    pub(crate) fn known(&self, node: &Arc<Node>) -> Option<Rc<Loaded>> {
        self.streams.borrow().get(&Arc::as_ptr(node)).cloned()
    }

    /// Remembers how far the stream at `node` is.
    pub(crate) fn remember(&self, node: &Arc<Node>, loaded: Loaded) {
        self.streams.borrow_mut().insert(Arc::as_ptr(node), Rc::new(loaded));
    }

    /// Every problem found, in the order of the text's lines.
    pub(crate) fn into_parts(self) -> (Compiler, Vec<Problem>) {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|(place, _)| *place);
        (self.compiler, problems.into_iter().map(|(_, problem)| problem).collect())
    }
}

/// The last part of each `extra_fields` path: children's request templates see it by name.
fn collect_extra_names(
    node: &Arc<Node>,
    names: &mut BTreeSet<String>,
    seen: &mut std::collections::HashSet<*const Node>,
) {
    if !seen.insert(Arc::as_ptr(node)) {
        return;
    }
    match &node.data {
        Data::List(items) => items.iter().for_each(|item| collect_extra_names(item, names, seen)),
        Data::Map(members) => {
            for (key, value) in members {
                if &**key == "extra_fields"
                    && let Data::List(paths) = &value.data
                {
                    names.extend(paths.iter().map(joined_path));
                }
                collect_extra_names(value, names, seen);
            }
        }
        _ => {}
    }
}

fn joined_path(path: &Arc<Node>) -> String {
    let Data::List(steps) = &path.data else { return String::new() };
    steps.iter().filter_map(|step| step.as_text().map(|text| text.to_string())).collect::<Vec<_>>().join(".")
}
