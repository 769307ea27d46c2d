"""Writes down who asks an ASGI app that stands in for AWS for what: one line of JSON for each signed request."""

import json
import re
import time
import urllib.parse

# What tells the operation and its resources; longer bodies are objects.
BODY_MAX = 1 << 20
CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/[^/]+/([^/]+)/aws4_request")


def recorded(app, path):
    """The app, with each signed request written to the file at `path`."""
    out = open(path, "a", buffering=1)

    async def wrapped(scope, receive, send):
        if scope["type"] != "http":
            return await app(scope, receive, send)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        signed = CREDENTIAL.search(headers.get("authorization", "")) or CREDENTIAL.search(
            urllib.parse.unquote(query.replace("X-Amz-Credential", "Credential"))
        )
        if signed is None:
            return await app(scope, receive, send)
        begun, body, told = time.monotonic(), bytearray(), {"status": None, "answer_bytes": 0}
        is_json = "json" in headers.get("content-type", "")

        async def receive_too():
            message = await receive()
            if is_json and message["type"] == "http.request" and len(body) <= BODY_MAX:
                body.extend(message.get("body", b""))
            return message

        async def send_too(message):
            if message["type"] == "http.response.start":
                told["status"] = message["status"]
            elif message["type"] == "http.response.body":
                told["answer_bytes"] += len(message.get("body", b""))
                # Before the answer is out: whoever has it finds the line.
                if not message.get("more_body"):
                    write()
            await send(message)

        def write():
            line = {
                "by": signed[1],
                "service": signed[2],
                "target": headers.get("x-amz-target", "").rpartition(".")[2],
                "method": scope["method"],
                "path": scope["path"],
                "query": dict(urllib.parse.parse_qsl(query, keep_blank_values=True)),
                "locks": "x-amz-object-lock-mode" in headers,
                "body": json.loads(body) if body and len(body) <= BODY_MAX else None,
                "begun_ms": int(begun * 1000),
                "ended_ms": int(time.monotonic() * 1000),
                **told,
            }
            out.write(json.dumps(line) + "\n")

        await app(scope, receive_too, send_too)

    return wrapped
