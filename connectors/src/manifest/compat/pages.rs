//! Suspicions about pages: loops without end, and answers that read as empty.

use super::{super::load::View, walk::Examination};

/// What a value of the next page must come from, or it is the same for ever.
const MOVING: [&str; 5] = ["response", "headers", "last_record", "last_page_size", "next_page_token"];

/// Refusals that say nothing of whether there are records.
const PASSING: [i128; 8] = [401, 408, 429, 500, 502, 503, 504, 529];

/// A paginator, a filter of answers, or a retriever.
pub(super) fn examine(examination: &mut Examination<'_>, view: &View<'_>) {
    match view.kind() {
        "DefaultPaginator" => paginator(examination, view),
        "CursorPagination" => cursor(examination, view),
        "HttpResponseFilter" => ignored(examination, view),
        "SimpleRetriever" => envelope(examination, view),
        _ => {}
    }
}

fn text(view: &View<'_>, name: &str) -> Option<String> {
    view.text(name).ok().flatten()
}

fn paginator(examination: &mut Examination<'_>, view: &View<'_>) {
    let Some(strategy) = view.child("pagination_strategy") else { return };
    let counts = matches!(strategy.kind(), "PageIncrement" | "OffsetIncrement");
    if counts && strategy.field("page_size").is_none() {
        let message = format!("`{}` without `page_size` ends only at an empty page", strategy.kind());
        let hint =
            "set `page_size` where the product has one: a product that repeats its last page is never read to its end";
        examination.suspect(&strategy, "page_size", message, hint);
    }
    // Elsewhere templates may use `next_page_token`: only a counter without any place to go is sure to be lost.
    if counts && view.field("page_token_option").is_none() && !mentions(examination, "next_page_token") {
        let message = "the number of the page is never sent: every page is the first one".to_owned();
        examination.suspect(view, "page_token_option", message, "say in `page_token_option` where it goes");
    }
}

/// True when any text of the manifest holds `word`.
fn mentions(examination: &Examination<'_>, word: &str) -> bool {
    examination.source.node().to_json().to_string().contains(word)
}

fn cursor(examination: &mut Examination<'_>, view: &View<'_>) {
    let Some(value) = text(view, "cursor_value") else { return };
    let stop = text(view, "stop_condition");
    let says_never = stop.as_deref().is_some_and(|stop| matches!(inner(stop), "false" | "False"));
    let is_still = !MOVING.iter().any(|word| value.contains(word));
    if is_still && (stop.is_none() || says_never) {
        let message =
            "the token of the next page does not depend on the answer, and nothing stops the pages".to_owned();
        let hint = "take it from `response`, `headers` or `last_record`, or add a `stop_condition`";
        examination.suspect(view, "cursor_value", message, hint);
    }
}

/// The expression inside of `{{ … }}`.
fn inner(template: &str) -> &str {
    template.trim().trim_start_matches("{{").trim_end_matches("}}").trim()
}

/// A passing refusal that is ignored reads as if there were no records.
fn ignored(examination: &mut Examination<'_>, view: &View<'_>) {
    let action = text(view, "action").unwrap_or_default();
    if !matches!(action.as_str(), "IGNORE" | "SUCCESS") {
        return;
    }
    let codes = view.field("http_codes").map(|codes| codes.to_json()).unwrap_or_default();
    let codes = codes.as_array().into_iter().flatten().filter_map(serde_json::Value::as_i64).map(i128::from);
    let passing: Vec<String> = codes.filter(|code| PASSING.contains(code)).map(|code| code.to_string()).collect();
    if !passing.is_empty() {
        let message =
            format!("{action} of HTTP {} makes a stream that could not be read look empty", passing.join(", "));
        examination.suspect(view, "http_codes", message, "let it fail, or try again (RETRY, RATE_LIMITED)");
    }
}

/// The whole answer as a record, although the next page is read from a member of it.
fn envelope(examination: &mut Examination<'_>, view: &View<'_>) {
    let extractor = view.child("record_selector").and_then(|selector| selector.child("extractor"));
    let Some(extractor) = extractor.filter(|extractor| extractor.kind() == "DpathExtractor") else { return };
    let Some(path) = extractor.field("field_path").filter(|path| path.is_falsy()) else { return };
    drop(path);
    let strategy = view.child("paginator").and_then(|paginator| paginator.child("pagination_strategy"));
    let Some(strategy) = strategy.filter(|strategy| strategy.kind() == "CursorPagination") else { return };
    let value = text(&strategy, "cursor_value").unwrap_or_default();
    let reads_member = ["response['", "response[\"", "response.get("].iter().any(|form| value.contains(form))
        || value.contains("response.") && !value.contains("response.get");
    if reads_member {
        let message =
            "the record path is empty: the whole answer is one record, although it also names the next page".to_owned();
        let hint = "name the member that holds the records, such as [data]; where there is but one record, take the paginator out";
        examination.suspect(&extractor, "field_path", message, hint);
    }
}
