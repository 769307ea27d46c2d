//! The streams that are read from a product that is stuck.

use serde_json::{Value, json};

pub fn requester(path: &str) -> Value {
    json!({"type": "HttpRequester", "url_base": "{{ config['base_url'] }}/", "path": path})
}

pub fn with(mut object: Value, more: Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

/// A stream with these further fields of its retriever.
pub fn stream(name: &str, retriever: Value) -> Value {
    let plain = json!({
        "type": "SimpleRetriever", "requester": requester("things"),
        "record_selector": {"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": ["data"]}},
    });
    json!({"type": "DeclarativeStream", "name": name, "primary_key": "id", "retriever": with(plain, retriever)})
}

pub fn paged(target: Value, strategy: Value) -> Value {
    stream(
        "things",
        json!({"paginator": {"type": "DefaultPaginator", "page_token_option": target, "pagination_strategy": strategy}}),
    )
}

pub fn into_query(name: &str) -> Value {
    json!({"type": "RequestOption", "inject_into": "request_parameter", "field_name": name})
}

pub fn by_cursor() -> Value {
    paged(into_query("after"), json!({"type": "CursorPagination", "cursor_value": "{{ response.next }}"}))
}

pub fn by_number() -> Value {
    paged(into_query("page"), json!({"type": "PageIncrement"}))
}

pub fn by_link() -> Value {
    paged(json!({"type": "RequestPath"}), json!({"type": "CursorPagination", "cursor_value": "{{ response.next }}"}))
}

pub fn of_the_whole_answer() -> Value {
    let selector = json!({"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": []}});
    stream("things", json!({ "record_selector": selector }))
}

/// One child of each record of a parent that is read by `retriever`.
pub fn children(parent: Value) -> Value {
    stream(
        "things",
        json!({"partition_router": {"type": "SubstreamPartitionRouter", "parent_stream_configs": [
            {"type": "ParentStreamConfig", "parent_key": "id", "partition_field": "parent", "stream": parent},
        ]}}),
    )
}

pub fn signed(authenticator: Value) -> Value {
    stream("things", json!({"requester": with(requester("things"), json!({ "authenticator": authenticator }))}))
}

pub fn by_login() -> Value {
    signed(json!({
        "type": "SessionTokenAuthenticator", "login_requester": requester("login"), "session_token_path": ["token"],
        "expiration_duration": "P999999D", "request_authentication": {"type": "Bearer"},
    }))
}

pub fn by_grant() -> Value {
    signed(json!({
        "type": "OAuthAuthenticator", "token_refresh_endpoint": "{{ config['base_url'] }}/token", "client_id": "i",
        "client_secret": "s", "refresh_token": "r",
    }))
}

/// A report of which each try may run for ten minutes.
pub fn by_report() -> Value {
    let selector = json!({"type": "RecordSelector", "extractor": {"type": "DpathExtractor", "field_path": ["data"]}});
    json!({"type": "DeclarativeStream", "name": "things", "primary_key": "id", "retriever": {
        "type": "AsyncRetriever", "record_selector": selector, "polling_job_timeout": 10,
        "creation_requester": requester("create"), "polling_requester": requester("poll"), "download_requester": requester("get"),
        "status_extractor": {"type": "DpathExtractor", "field_path": ["state"]},
        "status_mapping": {"running": ["running"], "completed": ["done"], "failed": ["failed"], "timeout": []},
    }})
}
