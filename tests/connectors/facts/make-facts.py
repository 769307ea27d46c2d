#!/usr/bin/env python3
"""Takes facts about the manifest language from the reference: airbyte-cdk 7.39.1 on Python 3.11.

    python make-facts.py NAME        prints the table NAME as JSON, one fact a line
    python make-facts.py             writes every table beside this file

A table holds what the reference does with cases of our own (`cases.py`); tests of ours read it and compare.
"""
import copy
import datetime
import json
import logging
import os
import sys
import warnings

os.environ["TZ"] = "UTC"
sys.dont_write_bytecode = True
logging.disable(logging.CRITICAL)
warnings.filterwarnings("ignore")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import cases  # noqa: E402


def written(value):
    """A value as Python writes it, so that 1 and 1.0 and '1' differ."""
    return repr(value)


def tried(work):
    """What `work` returns, or null where the reference fails."""
    try:
        return work()
    except Exception:
        return None


def templates():
    """[template, value as Python writes it or null for an error]"""
    from airbyte_cdk.sources.declarative.interpolation.interpolated_string import InterpolatedString

    for template in cases.TEMPLATES:
        # A fresh one each time: it remembers what it found out about its text.
        one = InterpolatedString(string=template, parameters=cases.PARAMETERS)
        yield [template, tried(lambda: written(one.eval(copy.deepcopy(cases.CONFIG), **copy.deepcopy(cases.NAMES))))]


def conditions():
    """[template, true, false, or null for an error]"""
    from airbyte_cdk.sources.declarative.interpolation.interpolated_boolean import InterpolatedBoolean

    for template in cases.CONDITIONS:
        one = InterpolatedBoolean(condition=template, parameters=cases.PARAMETERS)
        yield [template, tried(lambda: one.eval(copy.deepcopy(cases.CONFIG), **copy.deepcopy(cases.NAMES)))]


def typed():
    """[template, value_type, value as Python writes it or null]"""
    from airbyte_cdk.sources.declarative.interpolation.interpolated_string import InterpolatedString

    kinds = {"string": str, "number": float, "integer": int, "boolean": bool}
    for template in cases.TYPED:
        for name, kind in kinds.items():
            one = InterpolatedString(string=template, parameters={})
            value = tried(lambda: written(one.eval(copy.deepcopy(cases.CONFIG), valid_types=(kind,), **copy.deepcopy(cases.NAMES))))
            yield [template, name, value]


def dates():
    """[format, text, instant in microseconds since 1970 or null]: reading"""
    from airbyte_cdk.sources.declarative.datetime.datetime_parser import DatetimeParser

    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    for form in cases.DATE_FORMATS:
        for text in cases.DATE_TEXTS:
            moment = tried(lambda: DatetimeParser().parse(text, form))
            if moment is not None:
                yield [form, text, (moment - epoch) // datetime.timedelta(microseconds=1)]
        refused = [text for text in cases.DATE_TEXTS if tried(lambda: DatetimeParser().parse(text, form)) is None]
        yield [form, refused, None]


def date_texts():
    """[format, ISO instant, text or null]: writing"""
    from airbyte_cdk.sources.declarative.datetime.datetime_parser import DatetimeParser

    for form in cases.DATE_FORMATS:
        for iso in cases.INSTANTS:
            yield [form, iso, tried(lambda: str(DatetimeParser().format(datetime.datetime.fromisoformat(iso), form)))]


def cursor(case, state):
    """The reference's cursor of a stream without partitions."""
    from airbyte_cdk.sources.connector_state_manager import ConnectorStateManager
    from airbyte_cdk.sources.declarative.models.declarative_component_schema import DatetimeBasedCursor
    from airbyte_cdk.sources.declarative.parsers.model_to_component_factory import ModelToComponentFactory

    definition = {"type": "DatetimeBasedCursor", "cursor_field": "at", **case}
    return ModelToComponentFactory().create_concurrent_cursor_from_datetime_based_cursor(
        model_type=DatetimeBasedCursor, component_definition=definition, stream_name="s", stream_namespace=None,
        config={}, stream_state=copy.deepcopy(state),
    )


def windows():
    """[cursor, state, records, [[start, end], ...] or null, state afterwards or null]"""
    from airbyte_cdk.sources.types import Record, StreamSlice

    class Part:
        def __init__(self, part):
            self.part = part

        def to_slice(self):
            return self.part

        def stream_name(self):
            return "s"

    for case in cases.CURSORS:
        for state in cases.STATES:
            def read(records):
                one = cursor(case, state)
                parts = list(one.stream_slices())
                found = [[part["start_time"], part["end_time"]] for part in parts]
                for part in parts:
                    for value in records:
                        low, high = part["start_time"], part["end_time"]
                        if low <= value <= high:
                            one.observe(Record(data={"at": value}, stream_name="s", associated_slice=part))
                    one.close_partition(Part(part))
                return [found, one.state]
            for records in cases.RECORDS:
                got = tried(lambda: read(records))
                if got or not records:
                    yield [case, state, records, *(got or [None, None])]


def pages():
    """[strategy, pages of the product, [token before the first page, after each page]]; a page: records, body, headers"""
    from airbyte_cdk.sources.declarative.models import declarative_component_schema as models
    from airbyte_cdk.sources.declarative.parsers.model_to_component_factory import ModelToComponentFactory
    from airbyte_cdk.sources.declarative.decoders.json_decoder import JsonDecoder
    import requests

    for definition in cases.STRATEGIES:
        for answers in cases.PAGES:
            def read():
                kind = getattr(models, definition["type"])
                strategy = ModelToComponentFactory().create_component(
                    kind, copy.deepcopy(definition), copy.deepcopy(cases.CONFIG), decoder=JsonDecoder(parameters={}),
                    **({"extractor_model": None} if definition["type"] == "OffsetIncrement" else {}))
                token = strategy.initial_token
                tokens = [token]
                for body, headers in answers:
                    response = requests.Response()
                    response._content = json.dumps(body).encode()
                    response.status_code = 200
                    response.headers.update(headers)
                    records = body.get("data", [])
                    token = strategy.next_page_token(response, len(records), records[-1] if records else None, token)
                    tokens.append(token)
                    if token is None:
                        break
                return [written(token) for token in tokens]
            yield [definition, answers, tried(read)]


def refusals():
    """[handler, status, headers, body, action]: what becomes of an answer"""
    from airbyte_cdk.sources.declarative.models import declarative_component_schema as models
    from airbyte_cdk.sources.declarative.parsers.model_to_component_factory import ModelToComponentFactory
    import requests

    for definition in cases.HANDLERS:
        kind = getattr(models, definition["type"])
        handler = ModelToComponentFactory().create_component(kind, copy.deepcopy(definition), copy.deepcopy(cases.CONFIG))
        for status, headers, body in cases.ANSWERS:
            response = requests.Response()
            response._content = body.encode()
            response.status_code = status
            response.headers.update(headers)
            action = tried(lambda: handler.interpret_response(response).response_action.name)
            yield [definition, status, headers, body, action]


def waits():
    """[handler, status, headers, body, try, seconds or null where no strategy has an answer]"""
    from airbyte_cdk.sources.declarative.models import declarative_component_schema as models
    from airbyte_cdk.sources.declarative.parsers.model_to_component_factory import ModelToComponentFactory
    import requests

    for definition in cases.WAITING:
        kind = getattr(models, definition["type"])
        handler = ModelToComponentFactory().create_component(kind, copy.deepcopy(definition), copy.deepcopy(cases.CONFIG))
        strategies = handler.backoff_strategies or []
        for headers in cases.WAITING_HEADERS:
            for attempt in (1, 2, 5):
                response = requests.Response()
                response._content = b"{}"
                response.status_code = 429
                response.headers.update(headers)
                def wait():
                    for strategy in strategies:
                        seconds = strategy.backoff_time(response, attempt)
                        if seconds:
                            return seconds
                    return 0
                yield [definition, headers, attempt, tried(wait)]


def paths():
    """[record path, page, records or null for an error]"""
    from airbyte_cdk.sources.declarative.extractors.dpath_extractor import DpathExtractor

    class Page:
        def __init__(self, body):
            self.body = body

        def decode(self, _):
            yield from self.body if isinstance(self.body, list) else [self.body]

    for path in cases.RECORD_PATHS:
        for body in cases.BODIES:
            extractor = DpathExtractor(field_path=path, config={}, parameters={}, decoder=Page(body))
            yield [path, body, tried(lambda: list(extractor.extract_records(None)))]


def addresses():
    """[url_base, path, parameters, address of the request or null for an error]"""
    from airbyte_cdk.sources.declarative.models.declarative_component_schema import HttpRequester
    from airbyte_cdk.sources.declarative.parsers.model_to_component_factory import ModelToComponentFactory

    for base, path, parameters in cases.ADDRESSES:
        def address():
            definition = {"type": "HttpRequester", "url_base": base, "path": path}
            one = ModelToComponentFactory().create_component(HttpRequester, definition, copy.deepcopy(cases.CONFIG), name="s", decoder=None)
            # As `send_request` puts them together.
            url = one._get_url()
            return one._http_client._create_prepared_request(http_method="GET", url=url, dedupe_query_params=True, params=parameters).url
        yield [base, path, parameters, tried(address)]


def changes():
    """[transformation, record, record afterwards or null for an error]"""
    from airbyte_cdk.sources.declarative.models import declarative_component_schema as models
    from airbyte_cdk.sources.declarative.parsers.model_to_component_factory import ModelToComponentFactory
    from airbyte_cdk.sources.types import StreamSlice

    for definition in cases.CHANGES:
        kind = getattr(models, definition["type"])
        for record in cases.CHANGED:
            def change():
                one = ModelToComponentFactory().create_component(kind, copy.deepcopy(definition), copy.deepcopy(cases.CONFIG))
                after = copy.deepcopy(record)
                one.transform(after, config=copy.deepcopy(cases.CONFIG), stream_slice=StreamSlice(partition={"part": 1}, cursor_slice={}))
                return dict(sorted(after.items()))
            yield [definition, record, tried(change)]


def references():
    """[manifest, resolved manifest or null for an error]"""
    from airbyte_cdk.sources.declarative.parsers.manifest_reference_resolver import ManifestReferenceResolver

    for manifest in cases.REFERENCES:
        yield [manifest, tried(lambda: ManifestReferenceResolver().preprocess_manifest(copy.deepcopy(manifest)))]


def normalized():
    """[schema of a field, value, value as Python writes it afterwards]"""
    from airbyte_cdk.sources.utils.transform import TransformConfig, TypeTransformer

    transformer = TypeTransformer(TransformConfig.DefaultSchemaNormalization)
    for schema in cases.SCHEMAS:
        for value in cases.VALUES:
            record = {"f": copy.deepcopy(value)}
            done = tried(lambda: (transformer.transform(record, {"type": "object", "properties": {"f": copy.deepcopy(schema)}}), written(record["f"]))[1])
            yield [schema, value, done]


TABLES = [templates, conditions, typed, dates, date_texts, windows, pages, refusals, waits, paths, addresses, changes, references, normalized]


def text(table):
    return "[\n" + ",\n".join(json.dumps(fact, ensure_ascii=False) for fact in table()) + "\n]\n"


def main():
    wanted = sys.argv[1:]
    if wanted:
        sys.stdout.write(text(next(table for table in TABLES if table.__name__ == wanted[0])))
        return
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "context.json"), "w", encoding="utf-8") as file:
        json.dump({"config": cases.CONFIG, "parameters": cases.PARAMETERS, "names": cases.NAMES}, file, ensure_ascii=False, indent=1)
        file.write("\n")
    for table in TABLES:
        path = os.path.join(here, table.__name__ + ".json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text(table))
        print(path, file=sys.stderr)


if __name__ == "__main__":
    main()
