"""Serves moto on a free port of 127.0.0.1 and prints the port once connections are taken."""

import logging
import os
import socket
import threading

listener = socket.create_server(("127.0.0.1", 0), backlog=128)
port = listener.getsockname()[1]

# Read by moto. It is the same account as ministack's, and must leave this machine's Docker alone.
os.environ |= {
    "MOTO_ACCOUNT_ID": "000000000000",
    "MOTO_PORT": str(port),
    "DOCKER_HOST": "unix:///nonexistent",
}

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)
moto = DomainDispatcherApplication(create_backend_app)
one_at_a_time = threading.Lock()


def app(environ, start_response):
    # moto answers each request on a thread of its own and locks nothing: two conditional writes at once may both find
    # that their condition holds. Only who waits for messages may be many.
    if environ.get("HTTP_X_AMZ_TARGET") == "AmazonSQS.ReceiveMessage":
        return moto(environ, start_response)
    with one_at_a_time:
        return moto(environ, start_response)


server = make_server("127.0.0.1", port, app, threaded=True, request_handler=MotoRequestHandler, fd=listener.fileno())
print(f"listening on 127.0.0.1:{port}", flush=True)
server.serve_forever()
