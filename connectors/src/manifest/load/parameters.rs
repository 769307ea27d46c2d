//! Types that a component may leave out, by the type of its parent and the field it stands in.

/// The type of a component without one.
pub(super) fn default_type(parent: &str, field: &str, has_class_name: bool) -> Option<&'static str> {
    let table: &[(&str, &str, &str)] = if has_class_name { &CUSTOM } else { &DEFAULTS };
    table.iter().find(|(of, name, _)| *of == parent && *name == field).map(|(_, _, default)| *default)
}

const DEFAULTS: [(&str, &str, &str); 38] = [
    ("CompositeErrorHandler", "error_handlers", "DefaultErrorHandler"),
    ("CursorPagination", "decoder", "JsonDecoder"),
    ("DatetimeBasedCursor", "end_datetime", "MinMaxDatetime"),
    ("DatetimeBasedCursor", "end_time_option", "RequestOption"),
    ("DatetimeBasedCursor", "start_datetime", "MinMaxDatetime"),
    ("DatetimeBasedCursor", "start_time_option", "RequestOption"),
    ("DeclarativeSource", "check", "CheckStream"),
    ("DeclarativeSource", "spec", "Spec"),
    ("DeclarativeSource", "streams", "DeclarativeStream"),
    ("DeclarativeStream", "retriever", "SimpleRetriever"),
    ("DeclarativeStream", "schema_loader", "JsonFileSchemaLoader"),
    ("DynamicDeclarativeStream", "stream_template", "DeclarativeStream"),
    ("DynamicDeclarativeStream", "components_resolver", "ConfigComponentResolver"),
    ("HttpComponentsResolver", "retriever", "SimpleRetriever"),
    ("HttpComponentsResolver", "components_mapping", "ComponentMappingDefinition"),
    ("ConfigComponentsResolver", "stream_config", "StreamConfig"),
    ("ConfigComponentsResolver", "components_mapping", "ComponentMappingDefinition"),
    ("DefaultErrorHandler", "response_filters", "HttpResponseFilter"),
    ("DefaultPaginator", "decoder", "JsonDecoder"),
    ("DefaultPaginator", "page_size_option", "RequestOption"),
    ("DpathExtractor", "decoder", "JsonDecoder"),
    ("DpathExtractor", "record_expander", "RecordExpander"),
    ("HttpRequester", "error_handler", "DefaultErrorHandler"),
    ("ListPartitionRouter", "request_option", "RequestOption"),
    ("ParentStreamConfig", "request_option", "RequestOption"),
    ("ParentStreamConfig", "stream", "DeclarativeStream"),
    ("RecordExpander", "parent_fields", "ParentFieldPath"),
    ("RecordSelector", "extractor", "DpathExtractor"),
    ("RecordSelector", "record_filter", "RecordFilter"),
    ("SimpleRetriever", "paginator", "NoPagination"),
    ("SimpleRetriever", "record_selector", "RecordSelector"),
    ("SimpleRetriever", "requester", "HttpRequester"),
    ("SubstreamPartitionRouter", "parent_stream_configs", "ParentStreamConfig"),
    ("AddFields", "fields", "AddedFieldDefinition"),
    ("CustomPartitionRouter", "parent_stream_configs", "ParentStreamConfig"),
    ("DynamicSchemaLoader", "retriever", "SimpleRetriever"),
    ("SchemaTypeIdentifier", "types_map", "TypesMap"),
    ("DefaultPaginator", "page_token_option", "RequestOption"),
];

const CUSTOM: [(&str, &str, &str); 9] = [
    ("CompositeErrorHandler", "backoff_strategies", "CustomBackoffStrategy"),
    ("DeclarativeStream", "retriever", "CustomRetriever"),
    ("DeclarativeStream", "transformations", "CustomTransformation"),
    ("DefaultErrorHandler", "backoff_strategies", "CustomBackoffStrategy"),
    ("DefaultPaginator", "pagination_strategy", "CustomPaginationStrategy"),
    ("HttpRequester", "authenticator", "CustomAuthenticator"),
    ("HttpRequester", "error_handler", "CustomErrorHandler"),
    ("RecordSelector", "extractor", "CustomRecordExtractor"),
    ("SimpleRetriever", "partition_router", "CustomPartitionRouter"),
];
