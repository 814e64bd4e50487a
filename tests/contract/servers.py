"""Real S3 servers on this machine: how each is started, when it is ready, and how a store reaches it."""

import contextlib
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import IO, Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.storage.s3 import S3Options

HOST = "127.0.0.1"
BUCKET = "memory"
ACCESS_KEY, SECRET_KEY = "contract", "contract-secret"
PATIENCE = 20.0
"""Seconds a server has to become ready."""


@dataclass(frozen=True, slots=True)
class S3Server:
    """A server that is ready, with an empty bucket."""

    endpoint: str
    ca_file: Path | None = None

    def options(self, **changes: Any) -> S3Options:
        """How a store reaches it."""
        reached = {
            "bucket": BUCKET,
            "endpoint_url": self.endpoint,
            "region": "us-east-1",
            "access_key_id": ACCESS_KEY,
            "secret_access_key": SECRET_KEY,
            "ca_file": self.ca_file,
        }
        return S3Options(**{**reached, **changes})

    def new_bucket(self) -> str:
        """The name of an empty bucket, which nobody else uses."""
        name = f"memory-{secrets.token_hex(8)}"
        self.client().create_bucket(Bucket=name)
        return name

    def client(self) -> Any:
        """The SDK's own client, which shares nothing with the store under test."""
        return _client(self)


@cache
def _client(server: S3Server) -> Any:
    return _session().create_client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        verify=str(server.ca_file) if server.ca_file else None,
        config=Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            retries={"total_max_attempts": 1},
            connect_timeout=2,
            read_timeout=5,
        ),
    )


@cache
def _session() -> Any:
    return get_session()


@dataclass(frozen=True, slots=True)
class SeaweedFS:
    """One server behind two doors."""

    http: S3Server
    https: S3Server


class ServerFailed(AssertionError):
    """A server that the tests need does not start. Skipping them would hide it."""


@contextmanager
def moto() -> Iterator[S3Server]:
    """A simulated S3 with the answers of AWS, which accepts any signature."""
    port = free_port()
    server = S3Server(f"http://{HOST}:{port}")
    with running([sys.executable, str(Path(__file__).with_name("moto_server.py")), HOST, str(port)], server):
        yield server


@contextmanager
def seaweedfs(folder: Path) -> Iterator[SeaweedFS]:
    """A real object store, over http and https."""
    s3, https, master, volume, filer, admin = (free_port() for _ in range(6))
    data, certificate, key = folder / "data", folder / "certificate.pem", folder / "key.pem"
    data.mkdir()
    write_certificate(certificate, key)
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = folder / "identities.json"
    identities.write_text(
        json.dumps({"identities": [{"name": "contract", "credentials": credentials, "actions": actions}]}),
        encoding="utf-8",
    )
    arguments = [
        f"-dir={data}", f"-ip={HOST}", f"-ip.bind={HOST}", f"-s3.port={s3}", f"-s3.config={identities}",
        f"-s3.port.https={https}", f"-s3.cert.file={certificate}", f"-s3.key.file={key}",
        f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-admin.port={admin}",
        # Without these it binds every interface and reports to its makers.
        "-master.telemetry=false", "-webdav=false", "-admin.ui=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip
    http = S3Server(f"http://{HOST}:{s3}")
    with running([binary("weed"), "-logtostderr", "mini", *arguments], http, folder=folder):
        yield SeaweedFS(http, S3Server(f"https://{HOST}:{https}", certificate))


@contextmanager
def rclone(folder: Path) -> Iterator[S3Server]:
    """A server that takes conditions and ignores them."""
    port = free_port()
    arguments = [
        "serve", "s3", "--addr", f"{HOST}:{port}", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}",
        "--config", "/dev/null", "--vfs-cache-mode", "off", str(folder),
    ]  # fmt: skip
    server = S3Server(f"http://{HOST}:{port}")
    with running([binary("rclone"), *arguments], server):
        yield server


def binary(name: str) -> str:
    """The program of that name, from the environment the tests run in."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise ServerFailed(f"'{name}' is not installed: see tests/requirements.lock.")
    return found


def free_port() -> int:
    """A port that is free, and so is the one 10,000 above, which SeaweedFS opens for itself."""
    for _ in range(100):
        port = random.randrange(20_000, 55_000)  # noqa: S311 - any will do
        if is_free(port) and is_free(port + 10_000):
            return port
    raise ServerFailed("No free port was found.")


def is_free(port: int) -> bool:
    """Can a server listen there?"""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((HOST, port))
        except OSError:
            return False
    return True


@contextmanager
def running(command: Sequence[str], server: S3Server, *, folder: Path | None = None) -> Iterator[None]:
    """The command, from the moment it serves objects until the block is left."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "WEED_", "S3_"))}
    with contextlib.ExitStack() as stack:
        # A file, since a process whose pipe nobody reads comes to a halt; appended to, since it is read meanwhile.
        log = stack.enter_context(tempfile.TemporaryFile("a+b"))
        process = stack.enter_context(
            subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=environment)
        )
        stack.callback(process.kill)
        await_ready(server, lambda: process.poll() is None, lambda: said(log))
        yield


def said(log: IO[bytes]) -> str:
    """The last of what a process has said."""
    log.seek(max(0, log.seek(0, os.SEEK_END) - 20_000))
    return log.read().decode(errors="replace")


def await_ready(server: S3Server, is_alive: Callable[[], bool], log: Callable[[], str]) -> None:
    """Wait until an object can be written and read: an open port says nothing."""
    client, key, body = server.client(), f"ready/{secrets.token_hex(8)}", secrets.token_bytes(16)
    end = time.monotonic() + PATIENCE
    reason = ""
    while time.monotonic() < end and is_alive():
        try:
            with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key=key, Body=body)
            if client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body:
                client.delete_object(Bucket=BUCKET, Key=key)
                return
        except (BotoCoreError, ClientError) as error:
            reason = str(error)
        time.sleep(0.1)
    raise ServerFailed(f"The server at {server.endpoint} is not ready: {reason}\n{log()}")


def write_certificate(certificate: Path, key: Path) -> None:
    """A certificate for this machine's own address, that nobody but these tests trusts."""
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "contract tests")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
