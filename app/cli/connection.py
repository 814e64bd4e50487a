"""Which service a command speaks to, and as whom: options, then the environment, then a profile, then this machine."""

import ipaddress
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from app.cli.profiles import Configuration, Profile, Unusable

DEFAULT_URL: Final = "http://127.0.0.1:8002"
LOCAL_KEY: Final = "bootstrap.key"
"""Where `live-memory serve` keeps the administrator's key, in its data folder."""
_FACES: Final = ("/mcp", "/sse", "/api/v1")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Connection:
    """What the options of a command say."""

    url: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None
    profile: str | None = None

    def over(self, below: "Connection | None") -> "Connection":
        """These options, completed by those given before the command's name."""
        if below is None:
            return self
        names_token = self.token is not None or self.token_file is not None
        return replace(
            self,
            url=self.url if self.url is not None else below.url,
            token=self.token if names_token else below.token,
            token_file=self.token_file if names_token else below.token_file,
            profile=self.profile if self.profile is not None else below.profile,
        )


@dataclass(frozen=True, slots=True)
class Target:
    """A service, and the token to present there."""

    url: str
    token: str | None = field(repr=False)
    url_from: str
    """Where the address comes from, for people."""
    token_from: str
    """Where the token comes from, for people; empty without one."""
    is_local_key: bool = False
    """Is it the administrator's key of this machine, which nobody asked to use?"""


def resolve(options: Connection, environment: Mapping[str, str] | None = None) -> Target:
    """The service and the token.

    A token that a profile holds goes to the address of that profile only.

    Raises:
        Unusable: something is contradictory, missing or readable by others; the message is a sentence.
    """
    return _Resolution(options, os.environ if environment is None else environment).target()


class _Resolution:
    def __init__(self, options: Connection, environment: Mapping[str, str]) -> None:
        self._options = options
        self._environment = environment
        self._named: Profile | None = None
        self._usual: Profile | None = None
        if options.profile is not None:
            self._named = self._configuration().profile(options.profile)
        elif not (options.url or self._of("MCP_URL")) or not self._brings_token():
            self._usual = self._default_profile()

    def target(self) -> Target:
        address, url_from = self._address()
        url = base_address(address, url_from)
        token, token_from, is_local_key = self._token(url)
        if token is not None:
            check_token(token, token_from)
        return Target(url, token, url_from, token_from, is_local_key)

    def _address(self) -> tuple[str, str]:
        if self._options.url is not None:
            return self._options.url, "--url"
        if self._named:
            return self._named.url, f"profile '{self._named.name}'"
        if address := self._of("MCP_URL"):
            return address, "MCP_URL"
        if self._usual:
            return self._usual.url, f"profile '{self._usual.name}'"
        return DEFAULT_URL, "the default"

    def _token(self, url: str) -> tuple[str | None, str, bool]:
        options = self._options
        if options.token is not None and options.token_file is not None:
            raise Unusable("--token and --token-file are both given; keep one.")
        if options.token is not None:
            return options.token, "--token", False
        if options.token_file is not None:
            return read_token(options.token_file), f"{options.token_file}", False
        if found := self._of_profile(self._named, url):
            return found
        if self._of("MCP_TOKEN") and self._of("MCP_TOKEN_FILE"):
            raise Unusable("MCP_TOKEN and MCP_TOKEN_FILE are both set; keep one.")
        if token := self._of("MCP_TOKEN"):
            return token, "MCP_TOKEN", False
        if path := self._of("MCP_TOKEN_FILE"):
            return read_token(Path(path)), "MCP_TOKEN_FILE", False
        return self._of_profile(self._usual, url) or self._local_key(url)

    def _of_profile(self, profile: Profile | None, url: str) -> tuple[str, str, bool] | None:
        if profile is None or base_address(profile.url, f"profile '{profile.name}'") != url:
            return None
        if profile.token_file:
            return read_token(Path(profile.token_file).expanduser()), f"profile '{profile.name}'", False
        return (profile.token, f"profile '{profile.name}'", False) if profile.token else None

    def _local_key(self, url: str) -> tuple[str | None, str, bool]:
        if url != DEFAULT_URL:  # an administrator's key is not for whatever else listens on this machine
            return None, "", False
        path = Path(self._of("LIVE_MEMORY_DATA_DIR") or "data") / LOCAL_KEY
        try:
            if path.stat().st_mode & _OTHERS:
                return None, "", False
            key = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None, "", False
        return (key, str(path), True) if key else (None, "", False)

    def _brings_token(self) -> bool:
        options = self._options
        return any((options.token, options.token_file, self._of("MCP_TOKEN"), self._of("MCP_TOKEN_FILE")))

    def _default_profile(self) -> Profile | None:
        if name := self._of("LIVE_MEMORY_PROFILE"):
            return self._configuration().profile(name)
        configuration = self._configuration()
        return configuration.profile(configuration.default) if configuration.default else None

    def _configuration(self) -> Configuration:
        return Configuration.load(self._environment)

    def _of(self, variable: str) -> str:
        return self._environment.get(variable, "").strip()


def base_address(address: str, said_by: str) -> str:
    """The address of the service, whichever of its faces was named.

    Raises:
        Unusable: it is no address of a service.
    """
    try:
        parts = urlsplit(address.strip())
        port = parts.port
    except ValueError:
        raise Unusable(f"{said_by}: '{address}' is not an address.") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Unusable(f"{said_by}: '{address}' is not an address such as {DEFAULT_URL} or https://memory.example.")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment or port == 0:
        raise Unusable(f"{said_by}: the address holds more than a host, a port and a path; give the token apart.")
    path = parts.path.rstrip("/")
    for face in _FACES:
        path = path.removesuffix(face)
    return f"{parts.scheme}://{parts.netloc}{path.rstrip('/')}"


def is_local(url: str) -> bool:
    """Is the service on this machine?"""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_token(path: Path) -> str:
    """The token that a file holds.

    Raises:
        Unusable: the file cannot be read, is empty, or other users of the machine may read it.
    """
    try:
        if path.stat().st_mode & _OTHERS:
            raise Unusable(f"Other users of this machine may read '{path}': run `chmod 600 {path}`.")
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise Unusable(f"The token file '{path}' cannot be read ({reason}).") from None
    if not token:
        raise Unusable(f"The token file '{path}' is empty.")
    return token


def check_token(token: str, said_by: str) -> None:
    """Refuse what no header can carry.

    Raises:
        Unusable: it is no token.
    """
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Unusable(f"{said_by}: a token is made of printable ASCII characters without blanks.")
