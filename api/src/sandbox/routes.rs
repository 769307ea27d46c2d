//! Every route of the sandbox on one screen, and the data behind the first five.

use actix_web::{
    HttpResponse,
    middleware::from_fn,
    web::{self, Data, JsonConfig, Path, Query, ServiceConfig},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::{
    Shared, control, files,
    gate::{self, refusal},
    record::Stream,
    sign_in,
    table::Row,
    writes,
};

/// Routes, sign-in and switches.
pub fn all(app: &mut ServiceConfig) {
    app.route("/", web::get().to(home))
        .route("/oauth/authorize", web::get().to(sign_in::authorize))
        .route("/oauth/token", web::post().to(sign_in::token))
        .service(
            web::scope("/_sandbox")
                // A person types `curl -d`, which names another media type.
                .app_data(JsonConfig::default().content_type_required(false).content_type(|_| true))
                .route("/mutate", web::post().to(control::mutate))
                .route("/truth/{stream}", web::get().to(control::truth))
                .route("/faults", web::post().to(control::arm_fault))
                .route("/faults", web::delete().to(control::clear_faults))
                .route("/grants", web::delete().to(control::revoke_grants))
                .route("/access_tokens", web::delete().to(control::expire_access_tokens))
                .route("/client", web::put().to(control::set_client))
                .route("/stats", web::get().to(control::stats)),
        )
        .service(
            web::scope("")
                .wrap(from_fn(gate::pass))
                .route("/contacts", web::get().to(contacts))
                .route("/companies", web::get().to(companies))
                .route("/companies/{id}/deals", web::get().to(deals))
                .route("/companies/{id}/documents/{document}", web::get().to(files::document))
                .route("/events", web::get().to(events))
                .route("/tags", web::get().to(tags))
                .route("/contacts", web::post().to(writes::create))
                .route("/companies", web::post().to(writes::create))
                .route("/companies/{id}/deals", web::post().to(writes::create_deal))
                .service(one("/contacts/{id}"))
                .service(one("/companies/{id}"))
                .service(one("/deals/{id}")),
        );
}

/// One record: read, changed, replaced, deleted.
fn one(path: &str) -> actix_web::Resource {
    web::resource(path)
        .route(web::get().to(writes::read))
        .route(web::patch().to(writes::change))
        .route(web::put().to(writes::change))
        .route(web::delete().to(writes::delete))
}

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1000;

async fn home(shared: Data<Shared>) -> HttpResponse {
    let contacts = shared.world().table(Stream::Contacts).live_count();
    let streams = [
        "/contacts",
        "/companies",
        "/companies/{id}/deals",
        "/companies/{id}/documents/{document}",
        "/events",
        "/tags",
    ];
    HttpResponse::Ok().json(json!({"product": "ListBackup sandbox", "contacts": contacts, "streams": streams}))
}

#[derive(Deserialize)]
struct ContactsQuery {
    limit: Option<usize>,
    cursor: Option<String>,
    updated_since: Option<String>,
    #[serde(default)]
    include_deleted: bool,
}

/// By an opaque token, in the order in which contacts last moved.
async fn contacts(shared: Data<Shared>, query: Query<ContactsQuery>) -> HttpResponse {
    let limit = query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
    let (Some(since_s), Some(after)) = (since(query.updated_since.as_deref()), place(query.cursor.as_deref())) else {
        return refusal(400, "updated_since must be an RFC 3339 time, and cursor one that an answer gave");
    };
    let world = shared.world();
    let mut rows = world.table(Stream::Contacts).moved_since(since_s, after, query.include_deleted, limit + 1);
    let writer = world.writer();
    drop(world);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(token);
    let tail = format!(r#","paging":{{"next":{}}}}}"#, json!(next));
    page(r#"{"data":["#, &rows, |out, row| writer(out, Stream::Contacts, row), &format!("]{tail}"))
}

fn since(text: Option<&str>) -> Option<i64> {
    match text {
        None | Some("") => Some(i64::MIN),
        Some(text) => text.parse::<Timestamp>().ok().map(Timestamp::as_second),
    }
}

fn token(row: &Row) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}:{}", row.updated_at_s, row.id))
}

fn place(token: Option<&str>) -> Option<(i64, u64)> {
    let Some(token) = token.filter(|token| !token.is_empty()) else { return Some((i64::MIN, 0)) };
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    let (second, id) = text.split_once(':')?;
    Some((second.parse().ok()?, id.parse().ok()?))
}

#[derive(Deserialize)]
struct NumberedQuery {
    page: Option<u64>,
    per_page: Option<u64>,
}

/// By page number, 1 and up.
async fn companies(shared: Data<Shared>, query: Query<NumberedQuery>) -> HttpResponse {
    let per_page = query.per_page.unwrap_or(PAGE_DEFAULT as u64).clamp(1, PAGE_MAX as u64);
    let number = query.page.unwrap_or(1).max(1);
    let world = shared.world();
    let table = world.table(Stream::Companies);
    let pages = table.live_count().div_ceil(per_page);
    let first = table.nth_live((number - 1).saturating_mul(per_page));
    let rows = table.live_from(first, per_page as usize);
    let writer = world.writer();
    drop(world);
    let tail = format!(r#"],"page":{number},"pages":{pages}}}"#);
    page(r#"{"companies":["#, &rows, |out, row| writer(out, Stream::Companies, row), &tail)
}

/// All deals of a company in one answer; none for a company that is gone.
async fn deals(shared: Data<Shared>, company: Path<u64>) -> HttpResponse {
    let world = shared.world();
    let rows = world.deals_of(*company);
    let writer = world.writer();
    drop(world);
    page(r#"{"deals":["#, &rows, |out, row| writer(out, Stream::Deals, row), "]}")
}

#[derive(Deserialize)]
struct EventsQuery {
    offset: Option<usize>,
    limit: Option<usize>,
    since: Option<String>,
}

/// By offset, in the order in which events happened.
async fn events(shared: Data<Shared>, query: Query<EventsQuery>) -> HttpResponse {
    let (offset, limit) = (query.offset.unwrap_or(0), query.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX));
    let Some(since_s) = since(query.since.as_deref()) else {
        return refusal(400, "since must be an RFC 3339 time");
    };
    let world = shared.world();
    let rows = world.table(Stream::Events).ledger_since(since_s, offset as u64, limit);
    let writer = world.writer();
    drop(world);
    let tail = format!(r#"],"offset":{offset}}}"#);
    page(r#"{"events":["#, &rows, |out, row| writer(out, Stream::Events, row), &tail)
}

/// A bare list.
async fn tags(shared: Data<Shared>) -> HttpResponse {
    let world = shared.world();
    let rows = world.table(Stream::Tags).live_from(1, PAGE_MAX);
    let writer = world.writer();
    drop(world);
    page("[", &rows, |out, row| writer(out, Stream::Tags, row), "]")
}

/// An answer of `rows` between `head` and `tail`.
fn page(head: &str, rows: &[Row], write: impl Fn(&mut String, &Row), tail: &str) -> HttpResponse {
    let mut body = String::with_capacity(head.len() + tail.len() + rows.len() * 1200);
    body.push_str(head);
    for (i, row) in rows.iter().enumerate() {
        if i > 0 {
            body.push(',');
        }
        write(&mut body, row);
    }
    body.push_str(tail);
    HttpResponse::Ok().content_type("application/json").body(body)
}
