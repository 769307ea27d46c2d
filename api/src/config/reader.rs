//! Reads values from an environment and gathers what is wrong with them.

use std::{borrow::Cow, collections::BTreeMap, str::FromStr};

use listbackup_engine::connectors::Problem;

use super::table::{self, Setting};

/// What names of ours begin with.
const OURS: &str = "LISTBACKUP_";
/// What the tests of the project are told.
const TESTS: [&str; 2] = ["LISTBACKUP_TEST_", "LISTBACKUP_SIMULATED_"];

/// An environment, and its problems so far.
pub(super) struct Reader<'a> {
    environment: &'a BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(environment: &'a BTreeMap<String, String>) -> Self {
        Self { environment, problems: Vec::new() }
    }

    /// The value, if there is one that is not empty.
    pub(super) fn text(&self, setting: &Setting) -> Option<&'a str> {
        self.other(setting.name)
    }

    /// The value of a variable that is not ours.
    pub(super) fn other(&self, name: &str) -> Option<&'a str> {
        self.environment.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The value, if it has its form; otherwise the problem is told.
    pub(super) fn parsed<T: FromStr>(&mut self, setting: &Setting) -> Option<T> {
        self.parsed_if(setting, |_| true)
    }

    /// As [`Reader::parsed`], with a condition that is part of the form.
    pub(super) fn parsed_if<T: FromStr>(&mut self, setting: &Setting, fits: impl Fn(&T) -> bool) -> Option<T> {
        let value = self.text(setting)?.parse().ok().filter(fits);
        if value.is_none() {
            self.refuse(setting);
        }
        value
    }

    /// The values between commas.
    pub(super) fn list<T: FromStr>(&mut self, setting: &Setting) -> Vec<T> {
        let Some(text) = self.text(setting) else { return Vec::new() };
        let values: Option<Vec<T>> = text.split(',').map(|value| value.trim().parse().ok()).collect();
        values.unwrap_or_else(|| {
            self.refuse(setting);
            Vec::new()
        })
    }

    /// What `read` makes of the file that the value names, or of the value itself where it is JSON: a container may have no file of its
    /// own. `None` with problems told.
    pub(super) fn file<T>(
        &mut self,
        setting: &Setting,
        given: &str,
        read: impl FnOnce(&str) -> listbackup_engine::Result<T>,
    ) -> Option<T> {
        let mut tell = |message: String| self.add(Problem { place: setting.name.to_owned(), message });
        let text = match given.starts_with('{') {
            true => Ok(Cow::Borrowed(given)),
            false => std::fs::read_to_string(given).map(Cow::Owned),
        };
        let text = text.map_err(|error| tell(format!("must be a file that can be read: {error}"))).ok()?;
        let problems = match read(&text) {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        for problem in problems.problems() {
            tell(format!("at `{}`: {}", problem.place, problem.message));
        }
        None
    }

    /// The value has another form. It may be a secret, so it is not repeated.
    pub(super) fn refuse(&mut self, setting: &Setting) {
        self.add(Problem { place: setting.name.to_owned(), message: format!("must be {}", setting.form) });
    }

    pub(super) fn add(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// A misspelt name would be without effect and without a word. It is no problem: another version may know it.
    pub(super) fn tell_unknown(&self) {
        let is_known = |name: &str| table::ALL.iter().any(|setting| setting.name == name);
        let is_test = |name: &str| TESTS.iter().any(|start| name.starts_with(start));
        for name in self.environment.keys().filter(|name| name.starts_with(OURS) && !is_known(name) && !is_test(name)) {
            tracing::warn!(name, "there is no setting of this name; --help lists them");
        }
    }
}
