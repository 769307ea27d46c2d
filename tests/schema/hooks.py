"""What schemathesis is told about the API beside its document: how to sign in, and the few requests that must not be sent as drawn.

Environment: LISTBACKUP_URL, and LISTBACKUP_EMAIL and LISTBACKUP_PASSWORD of a person whose account has a run behind it.
"""

import ipaddress
import itertools
import os

import requests
import schemathesis
from schemathesis.openapi.checks import EnsureResourceAvailability

URL = os.environ["LISTBACKUP_URL"]
# Access tokens live for fifteen minutes; a long run needs several.
RENEW_SECONDS = 600
NETWORKS = itertools.count(1)
# Any well-formed id that stands for nothing.
NOBODY = "acc_00000000000000000000000000"


def signed_in():
    person = {"email": os.environ["LISTBACKUP_EMAIL"], "password": os.environ["LISTBACKUP_PASSWORD"]}
    # Apart from all that is drawn.
    network = {"X-Forwarded-For": "192.0.2.1"}
    answer = requests.post(f"{URL}/auth/login", json=person, headers=network, timeout=60)
    answer.raise_for_status()
    return answer.json()


@schemathesis.auth(refresh_interval=RENEW_SECONDS)
class Person:
    def get(self, case, context):
        return signed_in()["access_token"]

    def set(self, case, data, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {data}"
        # What one network may try is soon used up; each request is from another one.
        case.headers["X-Forwarded-For"] = str(ipaddress.IPv4Address("10.0.0.0") + next(NETWORKS))


def an_early_event(session):
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    answer = requests.get(f"{URL}/activity", headers=headers, timeout=60)
    answer.raise_for_status()
    return answer.json()["items"][-1]["id"]


COUNTER = itertools.count(1)
SESSION = signed_in()
EARLY_EVENT = an_early_event(SESSION)


@schemathesis.hook
def before_call(context, case, kwargs):
    label = case.operation.label
    is_valid = case.meta is None or case.meta.generation.mode.is_positive
    # Endless, and silent while nothing happens: asked from an early event on it has something to say at once. The configuration
    # bounds how much of it is read.
    if label == "GET /activity/stream":
        case.headers = {**(case.headers or {}), "Last-Event-ID": EARLY_EVENT}
    # The account that everything else happens in may not end under way.
    if label == "DELETE /accounts/{id}" and case.path_parameters.get("id") == SESSION["account_id"]:
        case.path_parameters["id"] = NOBODY
    if is_valid:
        as_this_api_wants_it(case)


def as_this_api_wants_it(case):
    """What a schema cannot say of a good request."""
    # JSON Schema calls 2.0 an integer; here numbers that count are written without a fraction.
    if isinstance(case.body, (dict, list)):
        case.body = without_fractions(case.body)
    # A key stands for one request: the same one with another body is refused.
    if case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"request-{next(COUNTER)}"
    # A cursor is what a page handed out, for the same list; a drawn one is refused, which no schema can say.
    if isinstance(case.query, dict) and case.query.get("cursor") is not None and not came_from_a_page(case):
        case.query.pop("cursor")


def without_fractions(value):
    if isinstance(value, dict):
        return {name: without_fractions(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_fractions(inner) for inner in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if is_whole else value


@schemathesis.hook
def filter_failure(context, failure, case, response):
    # An account of one's own is another account: it is there for requests that work in it, after `POST /accounts/{id}/switch`.
    return not (isinstance(failure, EnsureResourceAvailability) and failure.created_with == "POST /accounts")


def came_from_a_page(case):
    """True for the link of the stateful phase, which hands on what an answer held."""
    override = getattr(case, "_override", None)
    return bool(override and "cursor" in (getattr(override, "query", None) or {}))
