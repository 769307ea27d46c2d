//! From one page to the next.

use minijinja::Value;

use super::{
    components::Plugged,
    extract::{Extracted, Response as Shown},
    headers,
    load::{Take, View},
    request::options::{Injections, RequestOption},
    session::Session,
    slice::Slice,
    template::{Only, Python, Scope, Template, values::Lazy},
};
use crate::{Error, ErrorKind, PageEnd, PaginationStrategy, Result, http::HeaderMap};

/// `DefaultPaginator`; a manifest without one has one page a slice.
#[derive(Debug)]
pub(crate) struct Paginator {
    strategy: Strategy,
    page_size: Option<Template>,
    size_option: Option<RequestOption>,
    token_target: TokenTarget,
}

/// Where the page token goes.
#[derive(Debug)]
enum TokenTarget {
    /// Nowhere by itself: templates pick it up.
    None,
    /// Into the request.
    Option(RequestOption),
    /// It is the address.
    Path,
}

#[derive(Debug)]
enum Strategy {
    Page {
        start: i64,
        injects_first: bool,
    },
    Offset {
        injects_first: bool,
    },
    Cursor {
        value: Template,
        stop: Option<Template>,
    },
    /// `CustomPaginationStrategy`.
    Custom(Plugged<dyn PaginationStrategy>),
}

/// What a page was, for finding the next one.
pub(crate) struct Turn<'a> {
    /// The page's text and records.
    pub(crate) page: &'a Extracted,
    /// The answer's headers.
    pub(crate) headers: &'a HeaderMap,
    /// The slice being read.
    pub(crate) slice: &'a Slice,
    /// Records found in the page.
    pub(crate) found: usize,
    /// Records left after filtering.
    pub(crate) kept: usize,
    /// The last record left, as JSON in `.0` at `.1`.
    pub(crate) last_record: Option<Value>,
    /// The page size that was asked for in place of the manifest's.
    pub(crate) size: Option<i128>,
    /// The token of this page.
    pub(crate) token: Option<&'a Python>,
}

impl Paginator {
    /// Reads the component in the field called `name`; `None` for one page a slice.
    pub(crate) fn load(retriever: &View<'_>, name: &str) -> Take<Option<Self>> {
        let Some(view) = retriever.child(name) else { return Ok(None) };
        match view.kind() {
            "NoPagination" => return Ok(None),
            "DefaultPaginator" => {}
            _ => return Err(view.unsupported("paginator")),
        }
        let token_target = match view.child("page_token_option") {
            None => TokenTarget::None,
            Some(option) if option.kind() == "RequestPath" => TokenTarget::Path,
            Some(option) => TokenTarget::Option(RequestOption::load(&option)?),
        };
        let size_option = view.child("page_size_option").map(|option| RequestOption::load(&option)).transpose()?;
        let strategy_view = view.required_child("pagination_strategy")?;
        let strategy = Strategy::load(&strategy_view)?;
        let page_size = strategy_view.template("page_size")?;
        if size_option.is_some() && page_size.is_none() {
            return Err(view.problem("`page_size_option` needs a `page_size` in the pagination strategy"));
        }
        Ok(Some(Self { strategy, page_size, size_option, token_target }))
    }

    /// The token of the first page.
    pub(crate) fn first_token(&self) -> Option<Python> {
        match self.strategy {
            Strategy::Custom(ref custom) => custom.part.first().as_ref().map(Python::from),
            Strategy::Page { start, injects_first: true } => Some(Python::Int(start.into())),
            Strategy::Offset { injects_first: true } => Some(Python::Int(0)),
            _ => None,
        }
    }

    /// The address that a token stands for.
    pub(crate) fn path(&self, token: Option<&Python>) -> Option<String> {
        let token = token.filter(|token| token.is_truthy())?;
        matches!(self.token_target, TokenTarget::Path).then(|| token.text())
    }

    /// Puts page size and token into a request; `size` in place of the manifest's page size.
    ///
    /// # Errors
    /// As for templates; `Invalid` when the page size is no whole number.
    pub(crate) fn inject(
        &self,
        session: &Session,
        token: Option<&Python>,
        size: Option<i128>,
        into: &mut Injections,
    ) -> Result<()> {
        if let (TokenTarget::Option(option), Some(token)) = (&self.token_target, token) {
            option.inject(&session.engine, session.scope(), token.clone(), into)?;
        }
        let size = size.map_or_else(|| self.page_size(session), |size| Ok(Some(size)))?;
        if let (Some(option), Some(size)) = (&self.size_option, size.filter(|size| *size != 0)) {
            option.inject(&session.engine, session.scope(), Python::Int(size), into)?;
        }
        Ok(())
    }

    /// The page size, where requests carry one.
    ///
    /// # Errors
    /// As for templates; `Invalid` when it is no whole number.
    pub(crate) fn size(&self, session: &Session) -> Result<Option<i128>> {
        self.size_option.as_ref().map_or(Ok(None), |_| self.page_size(session))
    }

    fn page_size(&self, session: &Session) -> Result<Option<i128>> {
        let Some(template) = &self.page_size else { return Ok(None) };
        match template.value_of(&session.engine, session.scope(), Only::Any)? {
            Python::Int(size) => Ok(Some(size)),
            other => Err(Error::new(
                ErrorKind::Invalid,
                format!("`page_size` gives `{}`, which is no whole number", other.text()),
            )),
        }
    }

    /// True when finding the next page needs the last record.
    pub(crate) fn wants_last_record(&self) -> bool {
        match &self.strategy {
            Strategy::Cursor { value, stop } => {
                value.uses("last_record") || stop.as_ref().is_some_and(|stop| stop.uses("last_record"))
            }
            Strategy::Custom(_) => true,
            _ => false,
        }
    }

    /// The token of the next page; `None` at the end.
    ///
    /// # Errors
    /// As for templates.
    pub(crate) fn next(&self, session: &Session, turn: &Turn<'_>) -> Result<Option<Python>> {
        let token = match &self.strategy {
            Strategy::Page { start, .. } => self.counted(session, turn)?.then(|| match turn.token {
                Some(Python::Int(page)) => Python::Int(page + 1),
                _ => Python::Int(i128::from(*start) + 1),
            }),
            Strategy::Offset { .. } => self.counted(session, turn)?.then(|| match turn.token {
                Some(Python::Int(offset)) => Python::Int(offset + turn.found as i128),
                _ => Python::Int(turn.found as i128),
            }),
            Strategy::Custom(custom) => {
                let page = turn.ended();
                custom.part.next(&page, &session.own_settings())?.as_ref().map(Python::from)
            }
            Strategy::Cursor { value, stop } => {
                let scope = self.scope(session, turn)?;
                let stops = stop.as_ref().map_or(Ok(false), |stop| stop.is_met(&session.engine, &scope))?;
                if stops { None } else { Some(value.value(&session.engine, &scope)?) }
            }
        };
        Ok(token.filter(Python::is_truthy))
    }

    /// Whether a page of this many records may be followed by another.
    fn counted(&self, session: &Session, turn: &Turn<'_>) -> Result<bool> {
        let size = match &self.page_size {
            // Only an offset's page size may depend on the answer.
            Some(template) if template.uses("response") => {
                match template.value(&session.engine, &session.scope().clone().with("response", turn.response()))? {
                    Python::Int(size) => Some(size),
                    _ => None,
                }
            }
            _ => turn.size.map_or_else(|| self.page_size(session), |size| Ok(Some(size)))?,
        };
        let is_short = size.filter(|size| *size != 0).is_some_and(|size| (turn.found as i128) < size);
        Ok(!is_short && turn.found > 0)
    }

    fn scope(&self, session: &Session, turn: &Turn<'_>) -> Result<Scope> {
        let size = self.page_size(session)?.map_or_else(|| Value::from(()), Value::from);
        Ok(session
            .scope()
            .clone()
            .with_slice(&turn.slice.to_value())
            .with("response", turn.response())
            .with("headers", headers::with_links(turn.headers))
            .with("last_record", turn.last_record.clone().unwrap_or_else(|| Value::from(())))
            .with("last_page_size", Value::from(turn.kept))
            .with("page_size", size))
    }
}

impl Turn<'_> {
    /// The page as an embedder's code sees it.
    fn ended(&self) -> PageEnd {
        PageEnd {
            body: self.page.source.clone(),
            headers: self.headers.clone(),
            records: self.found,
            last_record: self.last_record.as_ref().and_then(|record| serde_json::to_value(record).ok()),
            token: self.token.and_then(|token| serde_json::from_str(&token.to_json()).ok()),
        }
    }

    fn response(&self) -> Value {
        match &self.page.response {
            Shown::Empty => Value::from_pairs(Vec::<(String, Value)>::new()),
            Shown::Object(range, members) if !members.is_empty() => {
                Lazy::object(&self.page.source, range.clone(), members.clone())
            }
            Shown::Object(range, _) | Shown::Other(range) => Lazy::value(&self.page.source, range.clone()),
        }
    }
}

impl Strategy {
    fn load(view: &View<'_>) -> Take<Self> {
        Ok(match view.kind() {
            _ if view.is_custom() => {
                Self::Custom(view.plug_in("pagination strategy", &view.loader().components.paginations)?)
            }
            "PageIncrement" => Self::Page {
                start: view.int("start_from_page")?.unwrap_or(0),
                injects_first: view.flag("inject_on_first_request")?.unwrap_or(false),
            },
            "OffsetIncrement" => Self::Offset { injects_first: view.flag("inject_on_first_request")?.unwrap_or(false) },
            "CursorPagination" => {
                Self::Cursor { value: view.required_template("cursor_value")?, stop: view.template("stop_condition")? }
            }
            _ => return Err(view.unsupported("pagination strategy")),
        })
    }
}
