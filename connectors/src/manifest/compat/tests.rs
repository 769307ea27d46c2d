//! What is told of manifests with one fault each.

use super::*;

const HEAD: &str = "version: 6.0.0\ntype: DeclarativeSource\n";
const SPEC: &str = "spec:\n  type: Spec\n  connection_specification:\n    type: object\n    properties:\n      key: {type: string}\n      url: {type: string}\n";

fn manifest_of(check: &str, stream: &str) -> String {
    format!(
        "{HEAD}check: {{type: CheckStream, stream_names: {check}}}\nstreams:\n  - type: DeclarativeStream\n    name: things\n{stream}{SPEC}"
    )
}

/// What is told of `text`: severity, line and message.
fn told(text: &str) -> Vec<(Severity, u32, String, String)> {
    compat("m.yaml", text)
        .findings
        .into_iter()
        .map(|found| (found.severity, found.line, found.message, found.hint))
        .collect()
}

#[track_caller]
fn assert_told(text: &str, severity: Severity, line: u32, words: &str, hint: &str) {
    let all = told(text);
    let has = all
        .iter()
        .any(|found| found.0 == severity && found.1 == line && found.2.contains(words) && found.3.contains(hint));
    assert!(has, "line {line}, {words:?}, {hint:?} is not among {all:#?}");
}

const GOOD: &str = "    primary_key: id
    retriever:
      type: SimpleRetriever
      requester: {type: HttpRequester, url_base: 'https://a.example', path: /x}
      record_selector: {type: RecordSelector, extractor: {type: DpathExtractor, field_path: [data]}}
";

#[test]
fn a_sound_manifest_is_told_nothing_about() {
    let report = compat("m.yaml", &manifest_of("[things]", GOOD));
    assert!(report.runs && report.findings.is_empty(), "{report:#?}");
}

#[test]
fn types_and_fields_that_the_language_lacks_are_named_with_what_was_meant_and_all_at_once() {
    let stream = "    primary_key: id
    primery_key: id
    retriever:
      type: SimpleRetriever
      requester:
        type: HttpRequester
        url_base: 'https://a.example'
        pth: /x
        authenticator: {type: BearerAuthentcator, api_token: x}
      record_selector: {type: RecordSelector, extractor: {type: DpathExtractor, field_path: [data]}}
      paginator: {type: SoapPages}
";
    let text = manifest_of("[thngs]", stream);
    assert_told(&text, Severity::Unsupported, 3, "`thngs`, which does not exist", "did you mean `things`?");
    assert_told(&text, Severity::Suspicious, 8, "`primery_key` is no field", "did you mean `primary_key`?");
    assert_told(&text, Severity::Suspicious, 14, "`pth` is no field", "did you mean `path`?");
    assert_told(
        &text,
        Severity::Unsupported,
        15,
        "no component `BearerAuthentcator`",
        "did you mean `BearerAuthenticator`?",
    );
    assert_told(&text, Severity::Unsupported, 17, "no component `SoapPages`", "use a component");
    assert!(!compat("m.yaml", &text).runs);
}

#[test]
fn a_key_that_is_not_marked_as_secret_is_suspicious_where_it_is_declared() {
    let stream = GOOD.replace(
        "path: /x",
        "path: /x, authenticator: {type: BearerAuthenticator, api_token: \"{{ config['key'] }}\"}",
    );
    let text = manifest_of("[things]", &stream);
    assert_told(&text, Severity::Suspicious, 17, "`key` signs requests", "airbyte_secret: true");
    let marked = text.replace("key: {type: string}", "key: {type: string, airbyte_secret: true}");
    assert!(told(&marked).is_empty(), "{:#?}", told(&marked));
}

#[test]
fn secrets_that_an_answer_could_lead_elsewhere_and_plain_http_are_suspicious() {
    let with = |url: &str| {
        GOOD.replace("'https://a.example'", url)
            .replace("path: /x", "path: /x, authenticator: {type: BearerAuthenticator, api_token: abc}")
    };
    let text = manifest_of("[things]", &with("\"{{ stream_partition['url'] }}\""));
    assert_told(&text, Severity::Suspicious, 10, "an answer decides where the secrets", "write the host out");
    let text = manifest_of("[things]", &with("'http://a.example'"));
    assert_told(&text, Severity::Suspicious, 10, "plain http", "https");
    let text = manifest_of("[things]", &with("\"https://a.example/{{ stream_partition['id'] }}\""));
    assert!(told(&text).is_empty(), "{:#?}", told(&text));
}

#[test]
fn streams_without_key_and_checks_without_stream_are_suspicious() {
    let text = manifest_of("[]", &GOOD.replace("    primary_key: id\n", ""));
    assert_told(&text, Severity::Suspicious, 6, "no primary key", "primary_key");
    assert_told(&text, Severity::Suspicious, 3, "names no stream", "one cheap request");
}

#[test]
fn pages_without_end_and_answers_that_read_as_empty_are_suspicious() {
    let pages = |strategy: &str| {
        let option = "page_token_option: {type: RequestOption, inject_into: request_parameter, field_name: p}";
        manifest_of(
            "[things]",
            &format!("{GOOD}      paginator: {{type: DefaultPaginator, {option}, pagination_strategy: {strategy}}}\n"),
        )
    };
    assert_told(&pages("{type: PageIncrement}"), Severity::Suspicious, 12, "only at an empty page", "page_size");
    let still = pages("{type: CursorPagination, cursor_value: \"{{ config['key'] }}\"}");
    assert_told(&still, Severity::Suspicious, 12, "nothing stops the pages", "stop_condition");
    let moving = pages("{type: CursorPagination, cursor_value: \"{{ response['next'] }}\"}");
    assert!(told(&moving).is_empty(), "{:#?}", told(&moving));
    let whole = moving.replace("field_path: [data]", "field_path: []");
    assert_told(&whole, Severity::Suspicious, 11, "the whole answer is one record", "[data]");
    let handler = "error_handler: {type: DefaultErrorHandler, response_filters: [{type: HttpResponseFilter, action: IGNORE, http_codes: [503]}]}";
    let text = manifest_of("[things]", &GOOD.replace("path: /x", &format!("path: /x, {handler}")));
    assert_told(&text, Severity::Suspicious, 10, "look empty", "RETRY");
}

#[test]
fn strict_cursors_without_look_back_and_cursors_that_stand_still_are_suspicious() {
    let cursor = "    x-listbackup: {deletions: {kind: marked, field: [gone]}}
    incremental_sync:
      type: DatetimeBasedCursor
      cursor_field: created_at
      datetime_format: '%Y-%m-%d'
      start_datetime: '2024-01-01'
      is_compare_strictly: true
";
    let text = manifest_of("[things]", &format!("{GOOD}{cursor}"));
    assert_told(&text, Severity::Suspicious, 15, "`created_at` does not move", "every change");
    assert_told(&text, Severity::Suspicious, 18, "without look-back", "lookback_window");
}

#[test]
fn a_zone_that_is_a_letter_is_suspicious_where_times_may_have_another() {
    let cursor = |format: &str, others: &str| {
        let cursor = format!(
            "    incremental_sync:
      type: DatetimeBasedCursor
      cursor_field: updated_at
      datetime_format: '{format}'
      cursor_datetime_formats: [{others}]
      start_datetime: '2024-01-01T00:00:00Z'
"
        );
        manifest_of("[things]", &format!("{GOOD}{cursor}"))
    };
    let text = cursor("%Y-%m-%dT%H:%M:%SZ", "'%Y-%m-%dT%H:%M:%SZ', '%Y-%m-%dT%H:%M:%S%z'");
    assert_told(&text, Severity::Suspicious, 15, "the letter Z", "end it in %z");
    for (format, others) in [
        ("%Y-%m-%dT%H:%M:%SZ", "'%Y-%m-%dT%H:%M:%S.%fZ'"),
        ("%Y-%m-%dT%H:%M:%S%z", "'%Y-%m-%dT%H:%M:%S%z'"),
        ("%Y-%m-%dT%H:%M:%S%Z", "'%Y-%m-%dT%H:%M:%S%z'"),
    ] {
        assert!(told(&cursor(format, others)).is_empty(), "{format}: {:#?}", told(&cursor(format, others)));
    }
}

#[test]
fn settings_that_nobody_can_fill_in_are_named() {
    let text = manifest_of("[things]", &GOOD.replace("'https://a.example'", "\"{{ config['urll'] }}\""));
    assert_told(&text, Severity::Suspicious, 10, "`urll`, which `spec` does not have", "did you mean `url`?");
}

#[test]
fn filters_and_tests_that_do_not_exist_are_named_before_they_are_used() {
    let text = manifest_of(
        "[things]",
        &GOOD.replace("path: /x", "path: \"/{{ config['url'] | lowwer }}/{{ 1 is tiny }}/{{ 'a|b' }}\""),
    );
    assert_told(&text, Severity::Unsupported, 10, "filter `lowwer`", "another");
    assert_told(&text, Severity::Unsupported, 10, "test `tiny`", "another");
    assert_eq!(told(&text).len(), 2, "{:#?}", told(&text));
    let text = manifest_of(
        "[things]",
        &GOOD.replace("path: /x", "path: \"/{{ config['url'] | lower | hash('md5') }}{{ 1 is not none }}\""),
    );
    assert!(told(&text).is_empty(), "{:#?}", told(&text));
}

/// A stream of block lines, with `more` in it.
fn block(more: &str) -> String {
    let stream = "    primary_key: id
    retriever:
      type: SimpleRetriever
      record_selector:
        type: RecordSelector
        extractor:
          type: DpathExtractor
          field_path: [data]
      requester:
        type: HttpRequester
        url_base: https://a.example
        path: /x
";
    manifest_of("[things]", &format!("{stream}{more}"))
}

#[test]
fn whatever_is_refused_is_named_at_its_own_line_with_what_to_do() {
    let class =
        |place: &str, kind: &str| format!("{place}:\n{{}}type: {kind}\n{{}}class_name: source_x.components.Own\n");
    let at = |indent: usize, text: &str| {
        let mut lines = text.lines();
        let first = format!("{:indent$}{}\n", "", lines.next().unwrap_or_default());
        lines.fold(first, |all, line| format!("{all}{:indent$}{}\n", "", line.replace("{}", "  ")))
    };
    let class = |indent: usize, place: &str, kind: &str| at(indent, &class(place, kind));
    // What is written, the first words of the line that is to be named, and what is to be said.
    let table: Vec<(String, &str, &str)> = vec![
        (block("").replace("type: HttpRequester", "type: CustomRequester\n        class_name: source_x.components.Own"), "type: CustomRequester", "source_x.components.Own"),
        (block("").replace("type: SimpleRetriever", "type: CustomRetriever\n      class_name: source_x.components.Own"), "type: CustomRetriever", "source_x.components.Own"),
        (block(&class(8, "error_handler", "CustomErrorHandler")), "type: CustomErrorHandler", "source_x.components.Own"),
        (block(&class(4, "incremental_sync", "CustomIncrementalSync")), "type: CustomIncrementalSync", "source_x.components.Own"),
        (block(&class(8, "authenticator", "CustomAuthenticator")), "type: CustomAuthenticator", "source_x.components.Own"),
        (block(&class(6, "partition_router", "CustomPartitionRouter")), "type: CustomPartitionRouter", "source_x.components.Own"),
        (block(&class(4, "schema_loader", "CustomSchemaLoader")), "type: CustomSchemaLoader", "source_x.components.Own"),
        (block(&class(6, "decoder", "CustomDecoder")), "type: CustomDecoder", "source_x.components.Own"),
        (block(&at(4, "file_uploader:\n{}type: FileUploader\n{}download_target_extractor:\n{}{}type: DpathExtractor\n{}{}field_path: [url]\n{}requester:\n{}{}type: HttpRequester\n{}{}url_base: https://a.example\n{}file_extractor:\n{}{}type: DpathExtractor\n{}{}field_path: [file]")), "type: DpathExtractor", "`file_extractor` of `FileUploader` is not supported"),
        (block("").replace("          field_path: [data]", "          field_path: [data]\n          record_expander:\n            type: RecordExpander\n            expand_records_from_field: [parts]\n            truncated_list_retriever:\n              type: SimpleRetriever"), "type: SimpleRetriever", "truncated_list_retriever"),
        (block(&at(6, "paginator:\n{}type: SoapPages")), "type: SoapPages", "SoapPages"),
        (block(&at(8, "http_method: [GET]")), "http_method: [GET]", "`http_method` must be text, found a list"),
        (block("").replace("field_path: [data]", "field_path: data"), "field_path: data", "`field_path` must be a list"),
        (block(&at(4, "incremental_sync:\n{}type: DatetimeBasedCursor\n{}cursor_field: at\n{}datetime_format: '%Y'\n{}start_datetime: '2024'\n{}is_data_feed: perhaps")), "is_data_feed: perhaps", "`is_data_feed` must be true or false"),
        (block(&at(8, "error_handler:\n{}type: DefaultErrorHandler\n{}response_filters:\n{}{}- type: HttpResponseFilter\n{}{}{}action: SHRUG")), "- type: HttpResponseFilter", "`SHRUG` is not supported"),
        (block(&at(8, "error_handler:\n{}type: DefaultErrorHandler\n{}backoff_strategies:\n{}{}- type: NapStrategy")), "- type: NapStrategy", "NapStrategy"),
        (block(&at(8, "request_parameters:\n{}since: \"{{ stream_state['at'] }}\"")), "since:", "stream_state"),
        (block(&at(8, "request_parameters:\n{}since: \"{{ conifg['at'] }}\"")), "since:", "nothing is called `conifg` here"),
        (block(&at(8, "authenticator:\n{}type: JwtAuthenticator\n{}algorithm: ES512\n{}secret_key: x\n{}token_duration: 60")), "type: JwtAuthenticator", "ES512"),
        (block(&at(4, "state_migrations:\n{}- type: CustomStateMigration\n{}{}class_name: source_x.components.Own")), "- type: CustomStateMigration", "source_x.components.Own"),
        (block("") + "  config_normalization_rules:\n    config_migrations:\n      - transformations:\n          - type: ConfigRemapField\n", "- type: ConfigRemapField", "needs"),
    ];
    for (text, start, words) in &table {
        let report = compat("m.yaml", text);
        let lines: Vec<&str> = text.lines().collect();
        let is_there = |found: &&Finding| found.severity == Severity::Unsupported && found.message.contains(words);
        let Some(found) = report.findings.iter().find(is_there) else {
            panic!("{words:?} is not among {:#?} of\n{text}", report.findings);
        };
        let line = lines[found.line as usize - 1].trim_start();
        assert!(line.starts_with(start), "{words}: line {} is {line:?}, not {start:?}", found.line);
        assert!(!report.runs && !found.path.is_empty() && !found.hint.is_empty(), "{found:#?}");
        assert!(!report.findings.iter().any(|found| found.message.contains("``")), "{:#?}", report.findings);
        let refused =
            crate::manifest::parse("m", "m.yaml", text).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains(&format!("m.yaml:{}:", found.line)), "{words}: {refused}");
    }
}

/// Real published manifests, when they lie beside the checkout: kinds of suspicion that one of them may rouse.
const SUSPICIONS_MAX: usize = 4;

#[test]
fn published_manifests_that_load_are_said_to_run_and_rouse_few_suspicions() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/manifests/dev");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        println!("skipped: no published manifests beside the checkout");
        return;
    };
    for path in entries.flatten().map(|entry| entry.path().join("manifest.yaml")).filter(|path| path.is_file()) {
        let text = std::fs::read_to_string(&path).unwrap();
        let report = compat("m.yaml", &text);
        let loads = crate::manifest::parse("m", "m.yaml", &text);
        assert_eq!(report.runs, loads.is_ok(), "{}: {:?}", path.display(), loads.err().map(|error| error.to_string()));
        let suspicious = report.findings.iter().filter(|finding| finding.severity == Severity::Suspicious);
        let kinds: std::collections::BTreeSet<_> = suspicious.map(|finding| &finding.message).collect();
        assert!(kinds.len() <= SUSPICIONS_MAX, "{}: {kinds:#?}", path.display());
    }
}
