"""A mail server on a free port of 127.0.0.1, with STARTTLS where a directory for its certificate is named. Prints the port.

It lets in `ada` with `right & proper+`, refuses recipients that begin with `nobody`, and writes each letter to the directory as a file.
"""

import datetime
import ipaddress
import pathlib
import socket
import ssl
import sys
import threading

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

directory = pathlib.Path(sys.argv[1])
with_tls = sys.argv[2] == "starttls"


def certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "server.pem").write_bytes(made.public_bytes(pem))
    (directory / "server.key").write_bytes(private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem", directory / "server.key")
    return context


class Keeper:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody"):
            return "550 5.1.1 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        (directory / f"{len(list(directory.glob('*.eml')))}.eml").write_bytes(envelope.original_content)
        return "250 kept"


def let_in(server, session, envelope, mechanism, data):
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"ada", b"right & proper+")
    return AuthResult(success=right, handled=False)


options = {"authenticator": let_in, "auth_required": True, "auth_require_tls": with_tls}
if with_tls:
    options |= {"tls_context": certificate(), "require_starttls": True}
# Told a port, not 0: the controller knocks at it to see whether the server is there.
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
controller = Controller(Keeper(), hostname="127.0.0.1", port=port, **options)
controller.start()
print(f"listening on 127.0.0.1:{port}", flush=True)
threading.Event().wait()
