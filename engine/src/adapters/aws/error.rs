//! What an error of AWS means for the caller: the one place that says so.

use std::error::Error as StdError;

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::error::{Error, ErrorKind};

/// Codes of errors that pass, beside those whose status says so (429, 5xx). DynamoDB, SQS and KMS tell them with 400.
const PASSING: &[&str] = &[
    "ConditionalRequestConflict",
    "OperationAborted",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// The engine's error for an operation of `service` that failed after all attempts of the SDK.
///
/// `Denied` is never among its kinds: that AWS refuses us is the operator's affair, not that of the account whose request
/// was on its way.
pub(super) fn failed<E>(service: &'static str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + Send + Sync + 'static,
{
    let status = status(&error);
    let (kind, message) = match &error {
        SdkError::ServiceError(_) => {
            let (code, said) = (error.code().unwrap_or("no code"), error.message().unwrap_or("nothing more"));
            (kind_of(code, status), format!("{service} refused a request: {code}, {said}"))
        }
        SdkError::ConstructionFailure(_) => {
            (ErrorKind::Bug, format!("a request to {service} could not be built: {}", root_of(&error)))
        }
        SdkError::TimeoutError(_) => (ErrorKind::Retry, format!("{service} did not answer in time")),
        // No credentials are a failure of dispatch too; where they come from a network, that passes.
        _ => (ErrorKind::Retry, format!("{service} cannot be reached: {}", root_of(&error))),
    };
    let failed = Error::new(kind, message).caused_by(error);
    match status {
        Some(status) => failed.with("status", status),
        None => failed,
    }
}

/// True for the code of an error that passes, such as of one entry of a batch.
pub(super) fn passes(code: &str) -> bool {
    PASSING.contains(&code)
}

/// The HTTP status of the answer, if one came.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

fn kind_of(code: &str, status: Option<u16>) -> ErrorKind {
    match (code, status) {
        ("NoSuchKey" | "NotFound", _) => ErrorKind::NotFound,
        (code, _) if passes(code) => ErrorKind::Retry,
        (_, None | Some(429 | 500..)) => ErrorKind::Retry,
        // Rights, keys and names are wrong until somebody changes the settings or what was deployed.
        _ => ErrorKind::Invalid,
    }
}

/// The innermost cause: the SDK's own words stop at "dispatch failure".
fn root_of(error: &dyn StdError) -> String {
    let mut root = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::{
        error::{ConnectorError, ErrorMetadata},
        primitives::SdkBody,
    };

    use super::*;

    fn answer(status: u16, code: &str) -> Error {
        let error = ErrorMetadata::builder().code(code).message("as told").build();
        failed("S3", SdkError::service_error(error, HttpResponse::new(status.try_into().unwrap(), SdkBody::empty())))
    }

    #[test]
    fn answers_say_what_to_do() {
        for (status, code, kind) in [
            (404, "NoSuchKey", ErrorKind::NotFound),
            (404, "NotFound", ErrorKind::NotFound),
            (404, "NoSuchBucket", ErrorKind::Invalid),
            (403, "AccessDenied", ErrorKind::Invalid),
            (403, "InvalidAccessKeyId", ErrorKind::Invalid),
            (400, "EntityTooLarge", ErrorKind::Invalid),
            (400, "ThrottlingException", ErrorKind::Retry),
            (400, "RequestTimeout", ErrorKind::Retry),
            (409, "ConditionalRequestConflict", ErrorKind::Retry),
            (429, "no code", ErrorKind::Retry),
            (500, "InternalError", ErrorKind::Retry),
            (503, "SlowDown", ErrorKind::Retry),
        ] {
            assert_eq!(answer(status, code).kind(), kind, "{status} {code}");
        }
        assert_eq!(answer(403, "AccessDenied").to_string(), "S3 refused a request: AccessDenied, as told (status 403)");
    }

    #[test]
    fn what_did_not_arrive_is_tried_again_later() {
        let unreachable = ConnectorError::io("connection refused".into());
        let error = failed::<ErrorMetadata>("S3", SdkError::dispatch_failure(unreachable));
        assert_eq!((error.kind(), error.message()), (ErrorKind::Retry, "S3 cannot be reached: connection refused"));
        let error = failed::<ErrorMetadata>("S3", SdkError::timeout_error("late"));
        assert_eq!(error.kind(), ErrorKind::Retry);
        let error = failed::<ErrorMetadata>("S3", SdkError::construction_failure("no bucket"));
        assert_eq!(error.kind(), ErrorKind::Bug);
    }
}
