//! Plans, from the operator's file.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Map, Value};

use crate::error::{Error, Problem, Result};

/// Longest name of a plan.
const NAME_MAX: usize = 40;
/// Longest title of a plan, in letters.
const TITLE_MAX: usize = 100;
/// The most plans.
const PLANS_MAX: usize = 50;

/// What a plan may limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Sources.
    Sources,
    /// Bytes that the newest snapshots of all sources take.
    StorageBytes,
    /// Backups ordered in a month.
    RunsAMonth,
    /// People, with open invitations.
    Members,
    /// Days that snapshots are kept.
    RetentionDays,
}

impl Limit {
    const ALL: [Self; 5] = [Self::Sources, Self::StorageBytes, Self::RunsAMonth, Self::Members, Self::RetentionDays];

    /// The word for it in the file, in answers and in problems.
    pub fn code(self) -> &'static str {
        match self {
            Self::Sources => "sources",
            Self::StorageBytes => "storage_bytes",
            Self::RunsAMonth => "runs_a_month",
            Self::Members => "members",
            Self::RetentionDays => "retention_days",
        }
    }

    /// An account has its owner, and a snapshot is kept for a while.
    fn least(self) -> u64 {
        match self {
            Self::Members | Self::RetentionDays => 1,
            Self::Sources | Self::StorageBytes | Self::RunsAMonth => 0,
        }
    }
}

/// The limits of a plan; what is absent is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// [`Limit::Sources`].
    pub sources: Option<u64>,
    /// [`Limit::StorageBytes`].
    pub storage_bytes: Option<u64>,
    /// [`Limit::RunsAMonth`].
    pub runs_a_month: Option<u64>,
    /// [`Limit::Members`].
    pub members: Option<u64>,
    /// [`Limit::RetentionDays`].
    pub retention_days: Option<u64>,
}

impl Limits {
    /// One of them.
    pub fn of(&self, limit: Limit) -> Option<u64> {
        match limit {
            Limit::Sources => self.sources,
            Limit::StorageBytes => self.storage_bytes,
            Limit::RunsAMonth => self.runs_a_month,
            Limit::Members => self.members,
            Limit::RetentionDays => self.retention_days,
        }
    }

    fn slot(&mut self, limit: Limit) -> &mut Option<u64> {
        match limit {
            Limit::Sources => &mut self.sources,
            Limit::StorageBytes => &mut self.storage_bytes,
            Limit::RunsAMonth => &mut self.runs_a_month,
            Limit::Members => &mut self.members,
            Limit::RetentionDays => &mut self.retention_days,
        }
    }
}

/// A plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Stable word for programs.
    pub name: String,
    /// Name for people.
    pub title: String,
    /// Its price at Stripe; none of the plan that accounts have without a subscription.
    pub price_id: Option<String>,
    /// What it limits.
    pub limits: Limits,
}

/// All plans. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plans {
    all: Arc<[Plan]>,
    /// Which one accounts have without a subscription.
    free: usize,
}

impl Default for Plans {
    /// One plan, `free`, without limits.
    fn default() -> Self {
        let free =
            Plan { name: "free".to_owned(), title: "Free".to_owned(), price_id: None, limits: Limits::default() };
        Self { all: Arc::new([free]), free: 0 }
    }
}

impl Plans {
    /// Reads the text of a file of plans.
    ///
    /// # Errors
    /// `Invalid` with every problem of it, each at its JSON pointer.
    pub fn read(text: &str) -> Result<Self> {
        let file: Value =
            serde_json::from_str(text).map_err(|error| refused(vec![problem("", format!("is not JSON: {error}"))]))?;
        let mut found = Problems::default();
        let file = found.object(&file, "", &["plans"]);
        let rows = match file.get("plans").and_then(Value::as_array) {
            Some(rows) if (1..=PLANS_MAX).contains(&rows.len()) => rows.as_slice(),
            _ => {
                found.add("/plans", format!("must be a list of 1 to {PLANS_MAX} plans"));
                &[]
            }
        };
        let mut plans: Vec<(Plan, bool)> = Vec::new();
        for (number, row) in rows.iter().enumerate() {
            plans.push(found.plan(row, &format!("/plans/{number}")));
        }
        found.of_all(&plans);
        match plans.iter().position(|(_, is_default)| *is_default) {
            Some(free) if found.0.is_empty() => {
                Ok(Self { all: plans.into_iter().map(|(plan, _)| plan).collect(), free })
            }
            _ => Err(refused(found.0)),
        }
    }

    /// All of them, in the order of the file.
    pub fn all(&self) -> &[Plan] {
        &self.all
    }

    /// What accounts have without a subscription.
    pub fn free(&self) -> &Plan {
        &self.all[self.free]
    }

    /// The plan of that name.
    pub fn named(&self, name: &str) -> Option<&Plan> {
        self.all.iter().find(|plan| plan.name == name)
    }

    /// The plan of a price.
    pub fn priced(&self, price_id: &str) -> Option<&Plan> {
        self.all.iter().find(|plan| plan.price_id.as_deref() == Some(price_id))
    }

    /// False where every account has one plan that limits nothing: then nothing has to be asked.
    pub fn is_enforced(&self) -> bool {
        self.all.len() > 1 || self.all.iter().any(|plan| plan.limits != Limits::default())
    }

    /// True when any plan has that limit, so that it has to be counted for.
    pub fn any_limits(&self, limit: Limit) -> bool {
        self.all.iter().any(|plan| plan.limits.of(limit).is_some())
    }
}

fn problem(place: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem { place: place.into(), message: message.into() }
}

fn refused(problems: Vec<Problem>) -> Error {
    Error::invalid("the plans are not valid", problems)
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.0.push(problem(place, message));
    }

    /// An object of these fields; an empty one where it is something else.
    fn object<'a>(
        &mut self,
        value: &'a Value,
        place: &str,
        fields: &[&str],
    ) -> std::borrow::Cow<'a, Map<String, Value>> {
        let Some(object) = value.as_object() else {
            self.add(place, "must be an object");
            return std::borrow::Cow::Owned(Map::new());
        };
        for name in object.keys().filter(|name| !fields.contains(&name.as_str())) {
            self.add(format!("{place}/{name}"), format!("is not a field; fields are {}", fields.join(", ")));
        }
        std::borrow::Cow::Borrowed(object)
    }

    /// A plan, and whether it is the one that accounts have without a subscription.
    fn plan(&mut self, value: &Value, place: &str) -> (Plan, bool) {
        let row = self.object(value, place, &["name", "title", "stripe_price", "default", "limits"]);
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, title, price) = (text("name"), text("title"), text("stripe_price"));
        let is_name = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(is_name) {
            self.add(
                format!("{place}/name"),
                format!("must be 1 to {NAME_MAX} lower-case letters, digits and hyphens"),
            );
        }
        if title.trim().is_empty() || title.chars().count() > TITLE_MAX {
            self.add(format!("{place}/title"), format!("must be text of 1 to {TITLE_MAX} letters"));
        }
        let is_default = match row.get("default") {
            None | Some(Value::Bool(false)) => false,
            Some(Value::Bool(true)) => true,
            Some(_) => {
                self.add(format!("{place}/default"), "must be true or false");
                false
            }
        };
        match (row.contains_key("stripe_price"), is_default) {
            (true, true) => self.add(format!("{place}/stripe_price"), "must be absent: the default plan costs nothing"),
            (false, false) => {
                self.add(format!("{place}/stripe_price"), "is required: only the default plan costs nothing")
            }
            (true, false) if price.is_empty() => {
                self.add(format!("{place}/stripe_price"), "must be the id of a price of Stripe")
            }
            _ => {}
        }
        let limits =
            row.get("limits").map_or(Limits::default(), |limits| self.limits(limits, &format!("{place}/limits")));
        (Plan { name, title, price_id: Some(price).filter(|price| !price.is_empty()), limits }, is_default)
    }

    fn limits(&mut self, value: &Value, place: &str) -> Limits {
        let mut limits = Limits::default();
        let row = self.object(value, place, &Limit::ALL.map(Limit::code));
        for limit in Limit::ALL {
            let Some(value) = row.get(limit.code()) else { continue };
            match value.as_u64().filter(|number| *number >= limit.least()) {
                Some(number) => *limits.slot(limit) = Some(number),
                None => self.add(
                    format!("{place}/{}", limit.code()),
                    format!("must be a whole number from {} on; leave it out for no limit", limit.least()),
                ),
            }
        }
        limits
    }

    fn of_all(&mut self, plans: &[(Plan, bool)]) {
        let (mut names, mut prices) = (BTreeSet::new(), BTreeSet::new());
        for (number, (plan, _)) in plans.iter().enumerate() {
            if !names.insert(&plan.name) && !plan.name.is_empty() {
                self.add(format!("/plans/{number}/name"), "another plan has this name");
            }
            if plan.price_id.as_ref().is_some_and(|price| !prices.insert(price)) {
                self.add(format!("/plans/{number}/stripe_price"), "another plan has this price");
            }
        }
        if !plans.is_empty() && plans.iter().filter(|(_, is_default)| *is_default).count() != 1 {
            self.add("/plans", "exactly one must have `default: true`: the one of accounts without a subscription");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Vec<String> {
        Plans::read(text).unwrap_err().problems().iter().map(|problem| problem.place.clone()).collect()
    }

    #[test]
    fn a_file_says_what_accounts_may_use() {
        let plans = Plans::read(
            r#"{"plans": [
                {"name": "free", "title": "Free", "default": true, "limits": {"sources": 2, "members": 1}},
                {"name": "team", "title": "Team", "stripe_price": "price_1", "limits": {"runs_a_month": 0}}]}"#,
        )
        .unwrap();
        assert_eq!((plans.free().limits.sources, plans.free().limits.members), (Some(2), Some(1)));
        assert_eq!(plans.priced("price_1"), plans.named("team"));
        assert!(plans.is_enforced() && plans.any_limits(Limit::RunsAMonth) && !plans.any_limits(Limit::StorageBytes));
    }

    #[test]
    fn without_a_file_there_is_one_plan_and_nothing_to_ask() {
        let plans = Plans::default();
        assert_eq!((plans.free().name.as_str(), plans.all().len()), ("free", 1));
        assert!(!plans.is_enforced());
    }

    #[test]
    fn all_problems_of_a_file_are_told_at_once() {
        let told = places(
            r#"{"plan": 1, "plans": [
                {"name": "Free", "title": "", "default": true, "stripe_price": "price_0", "limits": {"members": 0, "disks": 1}},
                {"name": "team", "title": "Team", "default": true, "limits": {"sources": -1}},
                {"name": "team", "title": "Team", "stripe_price": "price_0"}, 7]}"#,
        );
        for place in [
            "/plan",
            "/plans/0/name",
            "/plans/0/title",
            "/plans/0/stripe_price",
            "/plans/0/limits/members",
            "/plans/0/limits/disks",
            "/plans/1/limits/sources",
            "/plans/2/name",
            "/plans/2/stripe_price",
            "/plans/3",
            "/plans",
        ] {
            assert!(told.iter().any(|told| told == place), "{place} is not among {told:?}");
        }
        assert_eq!(places("{"), [""]);
        assert_eq!(places("{}"), ["/plans"]);
        assert_eq!(places(r#"{"plans": []}"#), ["/plans"]);
    }
}
