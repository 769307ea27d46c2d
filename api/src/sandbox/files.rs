//! Files of companies, whole or from a byte on.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{ACCEPT_RANGES, CONTENT_RANGE, ETAG, IF_RANGE, RANGE},
    },
    web::{Data, Path},
};

use super::{Shared, gate::refusal};

/// One file. Understands `Range: bytes=N-`, with `If-Range` too.
pub async fn document(shared: Data<Shared>, path: Path<(u64, u64)>, request: HttpRequest) -> HttpResponse {
    let (company, number) = *path;
    let (documents, seed) = {
        let world = shared.world();
        (world.documents(company), world.seed())
    };
    let Some(found) = documents.into_iter().find(|found| found.id == number) else {
        return refusal(404, "there is no such document");
    };
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let first = text(RANGE).and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let first = first.filter(|_| text(IF_RANGE).is_none_or(|tag| tag == found.etag()));
    let size = found.size_bytes as usize;
    let mut answer = match first {
        Some(first) if first >= size => {
            return HttpResponse::RangeNotSatisfiable()
                .insert_header((CONTENT_RANGE, format!("bytes */{size}")))
                .finish();
        }
        Some(first) => {
            let mut answer = HttpResponse::build(StatusCode::PARTIAL_CONTENT);
            answer.insert_header((CONTENT_RANGE, format!("bytes {first}-{}/{size}", size - 1)));
            answer
        }
        None => HttpResponse::Ok(),
    };
    let bytes = found.bytes(seed, first.unwrap_or(0)..size);
    answer
        .insert_header((ETAG, found.etag()))
        .insert_header((ACCEPT_RANGES, "bytes"))
        .content_type(found.media_type)
        .body(bytes)
}
