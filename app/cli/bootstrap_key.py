"""The first administrator's key, when the operator brought none: made once, kept beside the store."""

import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from app.core.ids import new_secret
from app.core.settings import MIN_BOOTSTRAP_KEY, InvalidSetting, Settings, StoreKind

KEY_FILE: Final = "bootstrap.key"


@dataclass(frozen=True, slots=True)
class BootstrapKey:
    """Where the key came from, and what the operator must be told."""

    settings: Settings
    """The settings, with the key in them."""
    sentences: tuple[str, ...]
    """What to print: the key itself only when it was made just now."""


def with_bootstrap_key(settings: Settings) -> BootstrapKey:
    """The settings with an administrator's key, made now unless there is one.

    Raises:
        InvalidSetting: the key's file cannot be read or written, or does not hold a key.
    """
    if settings.admin_bootstrap_key is not None:
        return BootstrapKey(settings, ())
    fresh = f"{new_secret():064x}"
    if settings.live_memory_store is StoreKind.MEMORY:
        told = (f"admin key  {fresh}", "           made for this run only: nothing is kept")
        return BootstrapKey(_keyed(settings, fresh), told)
    path = settings.live_memory_data_dir / KEY_FILE
    try:
        is_new = _create(path, fresh)
        key = fresh if is_new else path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise InvalidSetting(f"LIVE_MEMORY_DATA_DIR: '{path}' cannot be used ({reason}).") from None
    if len(key) < MIN_BOOTSTRAP_KEY or not key.isascii():
        raise InvalidSetting(f"'{path}' does not hold an administrator's key; remove it and a new one is made.")
    if is_new:
        return BootstrapKey(_keyed(settings, key), (f"admin key  {key}", f"           shown this once, kept in {path}"))
    return BootstrapKey(_keyed(settings, key), (f"admin key  in {path}",))


def _keyed(settings: Settings, key: str) -> Settings:
    return settings.model_copy(update={"admin_bootstrap_key": SecretStr(key)})


def _create(path: Path, key: str) -> bool:
    """Write the file whole and at once; False when it is there already, also when another process was faster."""
    if path.exists():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=".bootstrap-", dir=path.parent)  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(key + "\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
            return True
        return False
    finally:
        Path(temporary).unlink()
