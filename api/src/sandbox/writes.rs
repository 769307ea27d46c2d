//! Writing to the sandbox as to a real product: it chooses ids, sets some fields itself, checks references, and makes
//! nothing twice for one idempotency key.

use std::collections::HashMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Bytes, Data, Path},
};
use serde_json::value::RawValue;

use super::{
    Shared,
    gate::refusal,
    record::Stream,
    world::World,
    written::{self, Sent},
};

/// Answers by idempotency key, with the request that each was for.
#[derive(Default)]
pub struct Answers(HashMap<String, (String, String)>);

const STAMPS: &[&str] = &["id", "version", "created_at", "updated_at", "deleted_at"];

/// `GET /contacts/{id}` and the like.
pub async fn read(shared: Data<Shared>, request: HttpRequest, id: Path<u64>) -> HttpResponse {
    let world = shared.world();
    match stream_of(&request).filter(|stream| world.table(*stream).is_live(*id)) {
        Some(stream) => shown(&world, stream, *id, StatusCode::OK),
        None => refusal(404, "there is no such record"),
    }
}

/// `POST /contacts` and the like.
pub async fn create(shared: Data<Shared>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let Some(stream) = stream_of(&request) else { return refusal(404, "there is no such stream") };
    let what = format!("POST {} {}", request.path(), String::from_utf8_lossy(&body));
    let key = request.headers().get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let mut world = shared.world();
    if let Some((first, answer)) = key.as_ref().and_then(|key| world.answers.0.get(key)) {
        if *first != what {
            return refusal(400, "the idempotency key was used for another request");
        }
        let answer = answer.clone();
        shared.stats().repeated_writes += 1;
        return HttpResponse::Created().content_type("application/json").body(answer);
    }
    let sent = match checked(&world, stream, &body, true) {
        Ok(sent) => sent,
        Err(why) => return refusal(400, &why),
    };
    let id = world.create(stream, &sent);
    shared.stats().count_write(request.method(), request.path());
    let mut answer = String::new();
    if let Some(row) = world.table(stream).row(id) {
        world.write(&mut answer, stream, &row);
    }
    if let Some(key) = key {
        world.answers.0.insert(key, (what, answer.clone()));
    }
    HttpResponse::Created().content_type("application/json").body(answer)
}

/// `POST /companies/{id}/deals`.
pub async fn create_deal(shared: Data<Shared>, request: HttpRequest, id: Path<u64>, body: Bytes) -> HttpResponse {
    if !shared.world().table(Stream::Companies).is_live(*id) {
        return refusal(404, "there is no such company");
    }
    create(shared, request, body).await
}

/// `PATCH /contacts/{id}` changes the fields that are sent, `PUT` all.
pub async fn change(shared: Data<Shared>, request: HttpRequest, id: Path<u64>, body: Bytes) -> HttpResponse {
    let mut world = shared.world();
    let Some(stream) = stream_of(&request).filter(|stream| world.table(*stream).is_live(*id)) else {
        return refusal(404, "there is no such record");
    };
    let is_whole = request.method() == actix_web::http::Method::PUT;
    let sent = match checked(&world, stream, &body, is_whole) {
        Ok(sent) => sent,
        Err(why) => return refusal(400, &why),
    };
    world.change(stream, *id, &sent, is_whole);
    shared.stats().count_write(request.method(), request.path());
    shown(&world, stream, *id, StatusCode::OK)
}

/// `DELETE /contacts/{id}`; the deals of a company go with it.
pub async fn delete(shared: Data<Shared>, request: HttpRequest, id: Path<u64>) -> HttpResponse {
    let mut world = shared.world();
    let Some(stream) = stream_of(&request).filter(|stream| world.table(*stream).is_live(*id)) else {
        return refusal(404, "there is no such record");
    };
    world.delete(stream, *id);
    shared.stats().count_write(request.method(), request.path());
    HttpResponse::NoContent().finish()
}

/// The stream that the path is about: of `/companies/7/deals` the last.
fn stream_of(request: &HttpRequest) -> Option<Stream> {
    request.path().split('/').filter_map(Stream::named).next_back()
}

fn shown(world: &World, stream: Stream, id: u64, status: StatusCode) -> HttpResponse {
    let mut body = String::new();
    if let Some(row) = world.table(stream).row(id) {
        world.write(&mut body, stream, &row);
    }
    HttpResponse::build(status).content_type("application/json").body(body)
}

/// The fields that were sent, or what is wrong with them.
fn checked(world: &World, stream: Stream, body: &[u8], is_whole: bool) -> Result<Sent, String> {
    let sent: HashMap<String, Box<RawValue>> =
        serde_json::from_slice(body).map_err(|error| format!("the body must be a JSON object: {error}"))?;
    let known = written::fields(stream);
    for name in sent.keys() {
        if STAMPS.contains(&name.as_str()) {
            return Err(format!("{name}: the product sets this field itself"));
        }
        if !known.iter().any(|field| field.name == name) {
            return Err(format!("{name}: there is no such field"));
        }
    }
    for field in known {
        let value = sent.get(field.name).map(|value| value.get());
        if field.is_required && (value == Some("null") || (is_whole && value.is_none())) {
            return Err(format!("{}: this field is required", field.name));
        }
        if let (Some(target), Some(value)) = (field.reference, value.filter(|value| *value != "null")) {
            let is_there = value.parse().is_ok_and(|id| world.table(target).is_live(id));
            if !is_there {
                return Err(format!("{}: there is no record {value}", field.name));
            }
        }
    }
    Ok(sent)
}
