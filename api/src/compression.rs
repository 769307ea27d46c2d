//! Which answers are compressed: those that are larger than a packet. For others the compressor's tables cost more than all else.

use actix_web::{
    Error,
    body::{BodySize, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{CONTENT_ENCODING, HeaderValue},
    middleware::Next,
};

/// A body of so many bytes and its head are one packet, compressed or not.
const PACKET_BYTES: u64 = 1_200;
/// What the compressor leaves as it is.
const AS_IT_IS: HeaderValue = HeaderValue::from_static("identity");

/// Marks small answers for the compressor, which is wrapped around this.
///
/// # Errors
/// Those of what is wrapped.
pub async fn spare_small(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    let is_small = matches!(response.response().body().size(), BodySize::Sized(bytes) if bytes <= PACKET_BYTES);
    if is_small && !response.headers().contains_key(CONTENT_ENCODING) {
        response.headers_mut().insert(CONTENT_ENCODING, AS_IT_IS);
    }
    Ok(response)
}

/// Takes the mark away: answers name no encoding when they have none (RFC 9110, section 8.4). Wrapped around the compressor.
///
/// # Errors
/// Those of what is wrapped.
pub async fn unmark(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    if response.headers().get(CONTENT_ENCODING) == Some(&AS_IT_IS) {
        response.headers_mut().remove(CONTENT_ENCODING);
    }
    Ok(response)
}
