"""Serves ministack on a free port of 127.0.0.1 and prints the port once connections are taken.

With a file as argument it writes one line of JSON into it for each signed request, once that is answered.
"""

import asyncio
import os
import socket
import sys

listener = socket.create_server(("127.0.0.1", 0))
port = listener.getsockname()[1]

# Read by ministack as it is imported. It must know its port to tell the addresses of queues, and leave this machine's
# Docker and all other ports alone.
os.environ |= {
    "BIND_HOST": "127.0.0.1",
    "GATEWAY_PORT": str(port),
    "MINISTACK_HOST": "127.0.0.1",
    "DOCKER_HOST": "unix:///nonexistent",
    "IOT_MTLS_ENABLED": "0",
    "SFTP_ENABLED": "0",
    "LOG_LEVEL": "WARNING",
}

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.app import app

if len(sys.argv) > 1:
    from record_requests import recorded

    app = recorded(app, sys.argv[1])

config = Config()
config.bind = [f"fd://{listener.fileno()}"]
config.loglevel = "WARNING"
print(f"listening on 127.0.0.1:{port}", flush=True)
asyncio.run(serve(app, config))
