"""A backup by the client that openapi-python-client makes of the served document: register, prove the address, sign in, connect the
sandbox, make a job, run it, follow it to its end, list the records of its snapshot. Prints what was read as JSON.

Arguments: the API's address, the folder of mails, the sandbox's address. The generated package is `listbackup_client`.
"""

import json
import pathlib
import re
import sys
from http import HTTPStatus
from typing import TypeVar

from httpx import Timeout
from listbackup_client import AuthenticatedClient, Client
from listbackup_client.api.auth import post_auth_login, post_auth_register, post_auth_verify
from listbackup_client.api.data import get_data_snapshots_by_id_streams_by_stream_records
from listbackup_client.api.jobs import get_runs_by_id, post_jobs, post_jobs_by_id_run
from listbackup_client.api.sources import post_sources
from listbackup_client.models import (
    JobView,
    JsonObject,
    Login,
    NewJob,
    NewSource,
    PageRecordView,
    Registration,
    RunStatus,
    RunView,
    ScheduleTextType0,
    ScheduleTextType0Kind,
    SourceView,
    Taken,
    TokenPair,
    Verification,
    VerifiedUser,
)
from listbackup_client.types import UNSET, Unset

T = TypeVar("T")
EMAIL = "python@example.com"
PASSWORD = "correct horse battery staple"
# The events of a run pause while a page is read.
PATIENCE = Timeout(120)


def good(answer: object, wanted: type[T]) -> T:
    """What an operation answered; a problem ends the program with its text."""
    if not isinstance(answer, wanted):
        raise SystemExit(f"{wanted.__name__} was wanted, and this came: {answer}")
    return answer


def mailed_code(mails: pathlib.Path) -> str:
    letters = [path.read_text() for path in mails.iterdir()]
    letter = next(text for text in letters if f"To: {EMAIL}" in text)
    found = re.search(r"^Code: (\S+)", letter, re.MULTILINE)
    assert found is not None, letter
    return found[1]


def sign_in(url: str, mails: pathlib.Path) -> AuthenticatedClient:
    nobody = Client(base_url=url, timeout=PATIENCE)
    person = Registration(email=EMAIL, password=PASSWORD, name="Python")
    good(post_auth_register.sync(client=nobody, body=person), Taken)
    proof = Verification(email=EMAIL, code=mailed_code(mails))
    good(post_auth_verify.sync(client=nobody, body=proof), VerifiedUser)
    tokens = good(post_auth_login.sync(client=nobody, body=Login(email=EMAIL, password=PASSWORD)), TokenPair)
    return AuthenticatedClient(base_url=url, token=tokens.access_token, timeout=PATIENCE)


def order(client: AuthenticatedClient, sandbox: str) -> str:
    settings = JsonObject.from_dict(
        {"base_url": sandbox, "credentials": {"auth_type": "api_key", "api_key": "sandbox-key"}}
    )
    new = NewSource(name="Sandbox", integration="sandbox", settings=settings, streams=["companies"])
    source = good(post_sources.sync(client=client, body=new), SourceView)
    by_hand = ScheduleTextType0(kind=ScheduleTextType0Kind.MANUAL)
    job = good(post_jobs.sync(client=client, body=NewJob(source.id, "By hand", by_hand)), JobView)
    return good(post_jobs_by_id_run.sync(job.id, client=client, idempotency_key="from-python"), RunView).id


def ended(client: AuthenticatedClient, run_id: str) -> str:
    """The run's events end with it. This generator makes functions that read one document; a stream is for the client below them."""
    events = client.get_httpx_client().get(f"/runs/{run_id}/events")
    assert events.status_code == HTTPStatus.OK, events
    run = good(get_runs_by_id.sync(run_id, client=client), RunView)
    assert run.status == RunStatus.SUCCEEDED, run
    return good(run.snapshot_id, str)


def records(client: AuthenticatedClient, snapshot: str, stream: str) -> int:
    count = 0
    cursor: str | Unset | None = UNSET
    while cursor is not None:
        page = get_data_snapshots_by_id_streams_by_stream_records.sync(
            snapshot, stream, client=client, limit=100, cursor=cursor
        )
        page = good(page, PageRecordView)
        count += len(page.items)
        cursor = page.next_cursor or None
    return count


def main() -> None:
    url, mails, sandbox = sys.argv[1:]
    client = sign_in(url, pathlib.Path(mails))
    snapshot = ended(client, order(client, sandbox))
    print(json.dumps({"snapshot": snapshot, "records": records(client, snapshot, "companies")}))


main()
