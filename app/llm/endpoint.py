"""Where a model is, and the key to it."""

from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

_HIDDEN: Final = "[hidden]"


class Endpoint:
    """An address with a key that nothing here ever shows.

    Raises:
        ValueError: one of them cannot be used; the message shows neither.
    """

    def __init__(self, url: str, key: SecretStr | None) -> None:
        self._url = url.strip().rstrip("/")
        self._key = key.get_secret_value().strip() if key is not None else ""
        try:
            parts = urlsplit(self._url)
            is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            raise ValueError("The address of the model is no address.") from None
        if not is_address:
            raise ValueError("The address of the model must begin with http:// or https:// and name a host.")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError("The address of the model must hold no name, no password and no parameters.")
        if any(not "!" <= character <= "~" for character in self._key):
            raise ValueError("The key of the model holds characters that a header cannot carry.")
        self.host = parts.netloc

    def __repr__(self) -> str:
        return f"Endpoint({self.host!r})"

    def at(self, path: str) -> str:
        """The address of something there."""
        return self._url + path

    def headers(self) -> dict[str, str]:
        """What every request to it bears."""
        bearer = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        return {"Accept": "text/event-stream, application/json", "User-Agent": "live-memory", **bearer}

    def scrubbed(self, text: str) -> str:
        """A text from there without the key, which some repeat when they do not like it."""
        return text.replace(self._key, _HIDDEN) if self._key else text
