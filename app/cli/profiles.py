"""Several services by name: profiles in the configuration file, which belongs to its user alone."""

import json
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Self

FOLDER: Final = "live-memory"
NAME: Final = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}")
_HEADER: Final = "# Written by `live-memory profile`. It may hold tokens: keep it to yourself.\n"
_KEYS: Final = ("url", "token", "token_file")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class Unusable(Exception):
    """What was asked for cannot be used: the message is one sentence for the person who asked."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One service, and the token to present there."""

    name: str
    url: str
    token: str = field(default="", repr=False)
    token_file: str = ""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The configuration file."""

    path: Path
    default: str = ""
    """The profile that is used when none is named; empty: none is."""
    profiles: Mapping[str, Profile] = field(default_factory=dict)

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Self:
        """The configuration of this user; without a file it is empty.

        Raises:
            Unusable: the file cannot be read or understood, or holds a token that others may read.
        """
        path = configuration_file(os.environ if environment is None else environment)
        try:
            mode = path.stat().st_mode
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls(path)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise Unusable(f"'{path}' cannot be read ({reason}).") from None
        except tomllib.TOMLDecodeError as error:
            raise Unusable(f"'{path}' is not TOML: {error}.") from None
        profiles = _profiles(path, document)
        if mode & _OTHERS and any(profile.token for profile in profiles.values()):
            raise Unusable(f"Other users of this machine may read the tokens in '{path}': run `chmod 600 {path}`.")
        default = document.get("default", "")
        if not isinstance(default, str) or (default and default not in profiles):
            raise Unusable(f"'{path}': `default` names no profile of the file.")
        return cls(path, default, profiles)

    def profile(self, name: str) -> Profile:
        """The profile of that name.

        Raises:
            Unusable: there is none.
        """
        if name in self.profiles:
            return self.profiles[name]
        known = ", ".join(self.profiles) or "none"
        raise Unusable(f"There is no profile '{name}' in '{self.path}' (there are: {known}).")

    def with_profile(self, profile: Profile) -> Self:
        """The configuration with that profile; the first one becomes the default."""
        profiles = {**self.profiles, profile.name: profile}
        return replace(self, profiles=profiles, default=self.default or profile.name)

    def without(self, name: str) -> Self:
        """The configuration without that profile."""
        self.profile(name)
        profiles = {other: profile for other, profile in self.profiles.items() if other != name}
        return replace(self, profiles=profiles, default="" if self.default == name else self.default)

    def using(self, name: str) -> Self:
        """The configuration in which that profile is the default."""
        return replace(self, default=self.profile(name).name)

    def save(self) -> None:
        """Write the file: whole or not at all, and for its user alone.

        Raises:
            Unusable: it cannot be written.
        """
        lines = [_HEADER]
        if self.default:
            lines.append(f"default = {_quoted(self.default)}\n")
        for profile in self.profiles.values():
            lines.append(f"\n[profiles.{profile.name}]\n")
            values = {"url": profile.url, "token": profile.token, "token_file": profile.token_file}
            lines += [f"{key} = {_quoted(value)}\n" for key, value in values.items() if value]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor, temporary = tempfile.mkstemp(prefix=".config-", dir=self.path.parent)  # mkstemp makes it 0600
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write("".join(lines))
                Path(temporary).replace(self.path)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise Unusable(f"'{self.path}' cannot be written ({error.strerror or type(error).__name__}).") from None


def configuration_file(environment: Mapping[str, str]) -> Path:
    """Where the configuration of this user is."""
    return _home(environment, "XDG_CONFIG_HOME", ".config") / FOLDER / "config.toml"


def state_folder(environment: Mapping[str, str]) -> Path:
    """Where what should last between two runs is kept for this user."""
    return _home(environment, "XDG_STATE_HOME", ".local/state") / FOLDER


def _home(environment: Mapping[str, str], variable: str, usual: str) -> Path:
    named = environment.get(variable, "")
    if Path(named).is_absolute():
        return Path(named)
    home = environment.get("HOME", "")
    return (Path(home) if home else Path.home()) / usual


def _profiles(path: Path, document: Mapping[str, Any]) -> dict[str, Profile]:
    if unknown := sorted(document.keys() - {"default", "profiles"}):
        raise Unusable(f"'{path}': unknown key `{unknown[0]}`.")
    tables = document.get("profiles", {})
    if not isinstance(tables, dict):
        raise Unusable(f"'{path}': `profiles` holds one table a profile.")
    return {name: _profile(path, name, table) for name, table in tables.items()}


def _profile(path: Path, name: str, table: object) -> Profile:
    if not NAME.fullmatch(name):
        raise Unusable(f"'{path}': a profile's name is 1 to 64 letters, digits, `-` and `_`.")
    if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
        raise Unusable(f"'{path}': profile `{name}` holds `url`, `token` and `token_file` as texts.")
    if unknown := sorted(table.keys() - set(_KEYS)):
        raise Unusable(f"'{path}': profile `{name}` holds the unknown key `{unknown[0]}`.")
    if not table.get("url"):
        raise Unusable(f"'{path}': profile `{name}` has no `url`.")
    if table.get("token") and table.get("token_file"):
        raise Unusable(f"'{path}': profile `{name}` has `token` and `token_file`; keep one.")
    return Profile(name, **table)


def _quoted(text: str) -> str:
    """A basic string of TOML: that of JSON, but for one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
