//! Pages that the product cannot give as they were asked for: smaller ones, or the pages from their beginning.

use std::time::Duration;

use super::{
    super::{
        load::{Take, View},
        paginate::Paginator,
        request::requester::Again,
        slice::Named,
        time::Duration as Length,
        told_error::Repeated,
    },
    reader::Reader,
};
use crate::{Error, ErrorKind, Result};

/// What the manifest allows; nothing where it says nothing.
#[derive(Debug, Default)]
pub(super) struct Rules {
    reduction: Option<Reduction>,
    reset: Option<Reset>,
    split: Option<Split>,
}

/// `RequestWindowSplitting`.
#[derive(Debug)]
struct Split {
    shortest: Option<Length>,
    message: Option<String>,
}

/// `PageSizeReduction`.
#[derive(Debug)]
struct Reduction {
    factor: f64,
    minimum: i128,
    attempts_max: u32,
    wait: f64,
    retries_at_minimum: u32,
    message: Option<String>,
    is_restored: bool,
}

/// `PaginationReset`.
#[derive(Debug)]
struct Reset {
    /// What was read is not asked for again.
    splits: bool,
    records_max: Option<usize>,
}

/// How far a slice is with it.
#[derive(Debug, Default)]
pub(super) struct Effort {
    /// The page size in place of the manifest's.
    pub(super) size: Option<i128>,
    reductions: u32,
    retries: u32,
    records: usize,
    resets_in_vain: u32,
    /// Windows that a longer one was split into and that are still to be read, the next one last.
    windows: Vec<Named>,
}

impl Rules {
    /// Reads what a retriever says of it.
    pub(super) fn load(view: &View<'_>, has_cursor: bool) -> Take<Self> {
        let reduction = view.child("page_size_reduction").map(|child| Reduction::load(&child)).transpose()?;
        let reset = match view.child("pagination_reset") {
            None => None,
            Some(child) => {
                let splits = match child.required_text("action")?.as_str() {
                    "RESET" => false,
                    "SPLIT_USING_CURSOR" if has_cursor => true,
                    "SPLIT_USING_CURSOR" => return Err(child.problem("`SPLIT_USING_CURSOR` needs `incremental_sync`")),
                    other => return Err(child.problem(format!("`action` cannot be `{other}`"))),
                };
                let limit = child.child("limits").map(|limits| limits.int("number_of_records")).transpose()?.flatten();
                Some(Reset { splits, records_max: limit.and_then(|limit| usize::try_from(limit).ok()) })
            }
        };
        let split = match view.child("request_window_splitting") {
            None => None,
            Some(child) => {
                let shortest = child.text("min_split_window")?;
                let shortest = shortest.map(|text| Length::parse(&text).map_err(|reason| child.problem(reason)));
                let message = child.text("failure_message")?.filter(|text| !text.trim().is_empty());
                Some(Split { shortest: shortest.transpose()?, message })
            }
        };
        Ok(Self { reduction, reset, split })
    }
}

impl Reduction {
    fn load(view: &View<'_>) -> Take<Self> {
        let number = |name: &str, default: f64| -> Take<f64> {
            let Some(text) = view.text(name)? else { return Ok(default) };
            text.parse().map_err(|_| view.problem(format!("`{name}` must be a number")))
        };
        let count = |name: &str, default: u32| -> Take<u32> {
            Ok(view.int(name)?.map_or(default, |count| u32::try_from(count).unwrap_or(default)))
        };
        let factor = number("reduction_factor", 2.0)?;
        if factor <= 1.0 {
            return Err(view.problem("`reduction_factor` must be above 1"));
        }
        Ok(Self {
            factor,
            minimum: view.int("minimum_page_size")?.unwrap_or(1).max(1).into(),
            attempts_max: count("max_attempts", 5)?,
            wait: number("backoff_seconds", 0.5)?,
            retries_at_minimum: count("retries_at_minimum_page_size", 0)?,
            message: view.text("failure_message")?.filter(|text| !text.trim().is_empty()),
            is_restored: view.text("reset_policy")?.as_deref() == Some("AFTER_SUCCESSFUL_PAGE"),
        })
    }

    fn given_up(&self, size: i128) -> Error {
        let own = self.message.as_ref().map(|own| format!(" {}", own.trim())).unwrap_or_default();
        let message = format!("the product refuses pages of every size, down to {size} records a page.{own}");
        Error::new(ErrorKind::Retry, message)
    }
}

impl Reader {
    /// Does what the product's refusal asks for; the page is then asked for once more.
    ///
    /// # Errors
    /// `Retry` when nothing is left to try; `Invalid` where the manifest has no rule for it.
    pub(super) async fn again(&mut self, what: Again) -> Result<()> {
        let missing = |rule: &str| {
            Error::new(ErrorKind::Invalid, format!("a response filter of the manifest needs `{rule}` in the retriever"))
        };
        let stream = std::sync::Arc::clone(&self.stream);
        let rules = &stream.retriever.rules;
        match what {
            Again::Reset => self.reset(rules.reset.as_ref().ok_or_else(|| missing("pagination_reset"))?),
            Again::Split => self.split(rules.split.as_ref().ok_or_else(|| missing("request_window_splitting"))?),
            Again::Smaller => {
                let reduction = rules.reduction.as_ref().ok_or_else(|| missing("page_size_reduction"))?;
                let configured = stream.retriever.paginator.as_ref().map(|paginator| paginator.size(&self.session));
                let configured = configured.transpose()?.flatten();
                let present = self.effort.size.or(configured).ok_or_else(|| missing("page_size"))?;
                let wait = self.shrink(reduction, present)?;
                tokio::time::sleep(Duration::try_from_secs_f64(wait).unwrap_or_default()).await;
                Ok(())
            }
        }
    }

    /// Makes the page size smaller, or counts a try at the smallest; the seconds to wait.
    fn shrink(&mut self, reduction: &Reduction, present: i128) -> Result<f64> {
        let smaller = ((present as f64 / reduction.factor).floor() as i128).max(reduction.minimum);
        if smaller >= present {
            self.effort.retries += 1;
            if self.effort.retries > reduction.retries_at_minimum {
                return Err(reduction.given_up(present));
            }
            return Ok(reduction.wait * f64::from(self.effort.retries));
        }
        self.effort.reductions += 1;
        if self.effort.reductions > reduction.attempts_max {
            return Err(reduction.given_up(present));
        }
        tracing::info!(from = present, to = smaller, "the product wants smaller pages");
        self.effort.size = Some(smaller);
        Ok(reduction.wait * f64::from(self.effort.reductions))
    }

    /// Reads the first half of the window, and then the other.
    fn split(&mut self, split: &Split) -> Result<()> {
        let bound = self.bound.clone();
        let cursor = bound.as_ref().and_then(|bound| bound.cursor.as_ref());
        let halves = cursor.and_then(|cursor| cursor.halves(&self.slice, split.shortest));
        let (first, second) = halves.ok_or_else(|| {
            let own = split.message.as_ref().map(|own| format!(" {}", own.trim())).unwrap_or_default();
            Error::new(ErrorKind::Retry, format!("the product refuses windows of time of every length.{own}"))
        })?;
        self.effort.windows.push(second);
        self.begin(first);
        Ok(())
    }

    fn begin(&mut self, window: Named) {
        self.slice.window = window;
        self.effort.records = 0;
        self.seen.clear();
        self.repeated = Repeated::default();
        self.token = self.stream.retriever.paginator.as_ref().and_then(Paginator::first_token);
        self.is_done = false;
    }

    /// At the end of a window, goes on to the rest of the one that it is a part of.
    pub(super) fn has_other_window(&mut self) -> bool {
        let next = self.effort.windows.pop();
        let is_there = next.is_some();
        next.into_iter().for_each(|window| self.begin(window));
        is_there
    }

    /// Begins at the first page again, after what was read where the cursor tells it.
    fn reset(&mut self, reset: &Reset) -> Result<()> {
        let mut has_moved = false;
        if reset.splits
            && let (Some(latest), Some(bound)) = (self.latest, self.bound.clone())
            && let Some(cursor) = &bound.cursor
        {
            has_moved = cursor.restart(&mut self.slice, &latest);
        }
        self.effort.resets_in_vain = if has_moved { 0 } else { self.effort.resets_in_vain + 1 };
        let allowed = if reset.splits { 1 } else { 2 };
        if self.effort.resets_in_vain >= allowed {
            let message =
                "the product wants its pages asked for from the beginning, and no record moves the beginning on";
            return Err(Error::new(ErrorKind::Retry, message));
        }
        let window = self.slice.window.clone();
        self.begin(window);
        Ok(())
    }

    /// After a page with `records`: the next one may be asked for in full again, or from the beginning.
    ///
    /// # Errors
    /// As for [`Reader::again`].
    pub(super) fn went_well(&mut self, records: usize) -> Result<()> {
        let stream = std::sync::Arc::clone(&self.stream);
        let rules = &stream.retriever.rules;
        (self.effort.reductions, self.effort.retries) = (0, 0);
        if rules.reduction.as_ref().is_some_and(|reduction| reduction.is_restored) {
            self.effort.size = None;
        }
        self.effort.records += records;
        match &rules.reset {
            Some(reset) if reset.records_max.is_some_and(|most| self.effort.records >= most) => self.reset(reset),
            _ => Ok(()),
        }
    }
}
