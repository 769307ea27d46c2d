"""Serves localstripe on a free port of 127.0.0.1 and prints the port once connections are taken."""

import socket

from aiohttp import web
from localstripe import resources, server

# Every instance would write its records into one file shared by all: keep them in memory.
resources.Store.dump_to_disk = lambda store: None

listener = socket.create_server(("127.0.0.1", 0))
print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
web.run_app(server.app, sock=listener, print=None, access_log=None)
