//! `HttpRequester`: builds a request, signs it, sends it, and reads its answer by the manifest's rules.

use bytes::Bytes;
use secrecy::SecretString;
use tokio::time::Instant;

pub(crate) use super::call::{Again, Call, Sent, Tried};
use super::{
    super::{
        load::{Take, View},
        properties::QueryProperties,
        session::Session,
        template::{Only, Scope, Template},
        write,
    },
    auth::Auth,
    body::{Inputs, Tree},
    options::Fields,
    outcome::{self, Action, ErrorHandler},
    tries::Tries,
    url::{add_query, encode, is_at_home, join, push_pairs},
};
use crate::{
    Error, ErrorKind, Result,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Opened, Request, Response, StatusCode},
};

/// `HttpRequester`.
#[derive(Debug)]
pub(crate) struct Requester {
    base: Template,
    /// Where requests go is the word of an answer.
    is_told: bool,
    path: Option<Template>,
    method: Method,
    parameters: Inputs,
    headers: Inputs,
    form: Inputs,
    json: Option<Tree>,
    auth: Auth,
    errors: ErrorHandler,
    /// What the product is asked for, where the manifest lists it.
    pub(crate) properties: Option<QueryProperties>,
}

impl Requester {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        if view.kind() != "HttpRequester" {
            return Err(view.unsupported("requester"));
        }
        let properties = QueryProperties::load(view);
        let base = load_base(view);
        let is_told = base.as_ref().is_ok_and(|base| !view.loader().declare(base));
        let path = view.template("path");
        let method = view.text("http_method")?.unwrap_or_else(|| "GET".into());
        let method =
            Method::from_bytes(method.as_bytes()).map_err(|_| view.problem(format!("`{method}` is no HTTP method")));
        let (parameters, headers) = (Inputs::load(view, "request_parameters"), Inputs::load(view, "request_headers"));
        let (auth, errors) = (Auth::load(view), ErrorHandler::load(view));
        let body = load_body(view);
        let (form, json) = body?;
        Ok(Self {
            is_told,
            base: base?,
            path: path?,
            method: method?,
            parameters: parameters?,
            headers: headers?,
            form,
            json,
            auth: auth?,
            errors: errors?,
            properties: properties?,
        })
    }

    /// Sends, tries again as the manifest says, and returns the answer.
    ///
    /// # Errors
    /// What the answer asks of the caller, after all tries.
    pub(crate) async fn send(&self, session: &Session, call: &Call) -> Result<Sent> {
        match self.send_page(session, call).await? {
            Tried::Sent(sent) => Ok(sent),
            Tried::Again(_) => Err(Error::new(
                ErrorKind::Invalid,
                "a response filter asks for other pages, which only the requests that read a stream's pages can do",
            )),
        }
    }

    /// As [`Requester::send`], for a page: the product may want it asked for in another way.
    ///
    /// # Errors
    /// As for [`Requester::send`].
    pub(crate) async fn send_page(&self, session: &Session, call: &Call) -> Result<Tried> {
        let mut tries = Tries::new(self.errors.max_retries(session)?);
        let mut has_renewed = false;
        loop {
            let request = self.build(session, call).await?;
            let signed_with = bearer(&request);
            let began = Instant::now();
            let sent = self.exchange(session, request).await;
            let (error, refusal) = match sent {
                Err(error) if error.kind() == ErrorKind::Retry => {
                    tries.spend(began.elapsed());
                    (error, None)
                }
                Err(error) => return Err(error),
                Ok(response) => {
                    let mut resolution = self.errors.interpret(session, &response)?;
                    if call.body.is_some() {
                        resolution = write::resolved(resolution, &response);
                    }
                    match resolution.action {
                        Action::Success | Action::Ignore => return Ok(Tried::Sent(Sent::of(response))),
                        Action::ReducePage => return Ok(Tried::Again(Again::Smaller)),
                        Action::SplitWindow => return Ok(Tried::Again(Again::Split)),
                        Action::ResetPages => return Ok(Tried::Again(Again::Reset)),
                        Action::Fail | Action::RefreshToken
                            if !has_renewed && may_renew(&response, resolution.action) =>
                        {
                            has_renewed = true;
                            if self.auth.renew(session, signed_with).await? {
                                continue;
                            }
                        }
                        _ => {}
                    }
                    if matches!(resolution.action, Action::Fail | Action::RefreshToken) {
                        return Err(outcome::failure(&response, resolution.message));
                    }
                    (outcome::failure(&response, resolution.message), Some((response, resolution.action)))
                }
            };
            tries.wait(session, &self.errors, error, refusal.as_ref()).await?;
        }
    }

    async fn exchange(&self, session: &Session, request: Request) -> Result<Response> {
        let Some(pool) = self.auth.pool(session)? else { return session.send(request).await };
        let response = session.send(request.clone()).await?;
        pool.observe(session, &request, &response).await;
        Ok(response)
    }

    /// Opens the answer to a call, its body unread; refusals are tried again as the manifest says.
    ///
    /// # Errors
    /// What the answer asks of the caller, after all tries; `Denied` when credentials would go to another site than `home`.
    pub(crate) async fn open(
        &self,
        session: &Session,
        call: &Call,
        home: &str,
        mut headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Opened> {
        let mut tries = Tries::new(self.errors.max_retries(session)?);
        let mut has_renewed = false;
        loop {
            let mut request = self.build(session, call).await?;
            if !self.auth.is_none() {
                check_home("the attachment", home, &request.url)?;
            }
            request.headers.extend(headers.iter().cloned());
            let signed_with = bearer(&request);
            let began = Instant::now();
            let (error, refusal) = match session.open(request).await {
                Err(error) if error.kind() == ErrorKind::Retry => {
                    tries.spend(began.elapsed());
                    (error, None)
                }
                Err(error) => return Err(error),
                Ok(opened) if opened.head.status.as_u16() < 400 => return Ok(opened),
                // All of it had come, or there is less of it now: a part is of no use any more.
                Ok(opened) if opened.head.status == StatusCode::RANGE_NOT_SATISFIABLE && !headers.is_empty() => {
                    headers = &[];
                    continue;
                }
                Ok(opened) => {
                    let resolution = self.errors.interpret(session, &opened.head)?;
                    let action = resolution.action;
                    let may_renew = !has_renewed && may_renew(&opened.head, action);
                    if may_renew {
                        has_renewed = true;
                        if self.auth.renew(session, signed_with).await? {
                            continue;
                        }
                    }
                    let error = outcome::failure(&opened.head, resolution.message);
                    if !matches!(action, Action::Retry | Action::RateLimited) {
                        return Err(error);
                    }
                    (error, Some((opened.head, action)))
                }
            };
            tries.wait(session, &self.errors, error, refusal.as_ref()).await?;
        }
    }

    /// The site that the requester's answers come from.
    ///
    /// # Errors
    /// As for templates.
    pub(crate) fn home(&self, session: &Session, call: &Call) -> Result<String> {
        self.base.text(&session.engine, &call.scope(session))
    }

    async fn build(&self, session: &Session, call: &Call) -> Result<Request> {
        let scope = call.scope(session);
        let engine = &session.engine;
        let home = self.base.text(engine, &scope)?;
        let path = match (&call.path, &self.path) {
            (Some(path), _) => path.clone(),
            (None, Some(path)) => path.text(engine, &scope)?.trim_start_matches('/').to_owned(),
            (None, None) => String::new(),
        };
        let mut url = join(&home, &path)?;
        check_home("the next page", &home, &url)?;
        if home.starts_with("https:") && url.scheme() == "http" {
            // Products behind a proxy name themselves so; a credential does not go there in clear.
            let _ = url.set_scheme("https");
        }
        if self.is_told && self.carries_secrets() && !session.is_declared(&url) {
            let host = url.host_str().unwrap_or("?").to_owned();
            let message = format!(
                "the address of this request comes out of an answer and leads to {host}, which no `url_base` of the manifest \
                 names: settings and credentials do not go there. Name that host in a requester, or send nothing of them"
            );
            return Err(Error::new(ErrorKind::Denied, message));
        }
        if let Some(home) = call.home.as_deref().filter(|_| !self.auth.is_none()) {
            check_home("the report", home, &url)?;
        }
        let signed = self.auth.sign(session).await?;
        let mut query = self.parameters.evaluate(engine, &scope, Only::TextOrList)?;
        query.merge(signed.query, false)?;
        query.merge(call.injections.query.clone(), false)?;
        add_query(&mut url, query)?;
        let mut headers = self.headers.evaluate(engine, &scope, Only::Any)?;
        headers.merge(signed.headers, false)?;
        headers.merge(call.injections.headers.clone(), false)?;
        let mut map = HeaderMap::new();
        for (name, value) in headers.0 {
            insert_header(&mut map, &name, &value.text())?;
        }
        let body = self.body(session, call, &scope, signed.form, signed.json, &mut map)?;
        let mut request = Request { method: self.method.clone(), url, headers: map, body };
        if let Some(pool) = self.auth.pool(session)? {
            pool.sign(session, &mut request).await?;
        }
        Ok(request)
    }

    /// True when a request may hold something of the settings, which are secret in part.
    fn carries_secrets(&self) -> bool {
        let in_body = self.json.is_some() || self.form.uses("config");
        let in_address = self.base.uses("config") || self.path.as_ref().is_some_and(|path| path.uses("config"));
        !self.auth.is_none() || in_body || in_address || self.parameters.uses("config") || self.headers.uses("config")
    }

    fn body(
        &self,
        session: &Session,
        call: &Call,
        scope: &Scope,
        form: Fields,
        json: Fields,
        headers: &mut HeaderMap,
    ) -> Result<Bytes> {
        if !matches!(self.method, Method::GET | Method::POST | Method::PUT | Method::PATCH) {
            return Ok(Bytes::new());
        }
        if let Some(body) = &call.body {
            default_content_type(headers, "application/json");
            return Ok(body.clone());
        }
        let mut document =
            self.json.as_ref().map_or(Ok(Fields::default()), |tree| tree.evaluate(&session.engine, scope))?;
        document.merge(json, true)?;
        document.merge(call.injections.json.clone(), true)?;
        if let Some(text) = self.form.as_text(&session.engine, scope)?.filter(|text| !text.is_empty()) {
            return Ok(Bytes::from(text));
        }
        let mut fields = self.form.evaluate(&session.engine, scope, Only::TextOrList)?;
        fields.merge(form, false)?;
        fields.merge(call.injections.form.clone(), false)?;
        if !document.is_empty() && !fields.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "a request can have a JSON body or a form, not both"));
        }
        if !document.is_empty() {
            default_content_type(headers, "application/json");
            return Ok(Bytes::from(document.into_python().to_json()));
        }
        if fields.is_empty() {
            return Ok(Bytes::new());
        }
        default_content_type(headers, "application/x-www-form-urlencoded");
        let mut pairs = Vec::new();
        for (name, value) in fields.0 {
            push_pairs(&mut pairs, &name, value)?;
        }
        Ok(Bytes::from(encode(&pairs)))
    }
}

fn load_base(view: &View<'_>) -> Take<Template> {
    match (view.template("url_base")?, view.template("url")?) {
        (Some(base), _) | (None, Some(base)) => Ok(base),
        (None, None) => Err(view.problem("an HttpRequester needs `url` or `url_base`")),
    }
}

/// The form and the JSON tree, from the old fields or from `request_body`.
fn load_body(view: &View<'_>) -> Take<(Inputs, Option<Tree>)> {
    let (form, json) = (Inputs::load(view, "request_body_data")?, Tree::load(view, "request_body_json")?);
    let Some(body) = view.child("request_body") else {
        let both = !form.is_none() && json.is_some();
        return if both {
            Err(view.problem("`request_body_data` and `request_body_json` exclude each other"))
        } else {
            Ok((form, json))
        };
    };
    match body.kind() {
        "RequestBodyUrlEncodedForm" | "RequestBodyPlainText" => Ok((Inputs::load(&body, "value")?, None)),
        "RequestBodyJsonObject" | "RequestBodyGraphQL" => Ok((Inputs::None, Tree::load(&body, "value")?)),
        _ => Err(body.unsupported("request body")),
    }
}

/// The token that a request carries: while its answer was under way, others may have renewed it already.
fn bearer(request: &Request) -> Option<SecretString> {
    request.headers.get("authorization")?.to_str().ok()?.strip_prefix("Bearer ").map(SecretString::from)
}

/// A refused token is renewed once: products end tokens before their time.
fn may_renew(response: &Response, action: Action) -> bool {
    action == Action::RefreshToken || response.status.as_u16() == 401
}

/// Credentials of one host do not go to another, wherever an answer points.
fn check_home(what: &str, home: &str, url: &url::Url) -> Result<()> {
    let home = join(home, "")?;
    if is_at_home(&home, url) {
        return Ok(());
    }
    let message = format!("{what} is at {}, outside {}", url.host_str().unwrap_or("?"), home.host_str().unwrap_or("?"));
    Err(Error::new(ErrorKind::Denied, message))
}

fn default_content_type(headers: &mut HeaderMap, value: &'static str) {
    let name = HeaderName::from_static("content-type");
    headers.entry(name).or_insert(HeaderValue::from_static(value));
}

/// Adds a header; any may hold a secret, so none is ever printed.
///
/// # Errors
/// `Invalid` without the value when it cannot stand in a header.
pub(super) fn insert_header(headers: &mut HeaderMap, name: &str, value: &str) -> Result<()> {
    let wrong =
        || Error::new(ErrorKind::Invalid, format!("the header `{name}` holds characters that no header can carry"));
    let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
    let mut value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
    value.set_sensitive(true);
    headers.insert(key, value);
    Ok(())
}
