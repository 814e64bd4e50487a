from pathlib import Path

import pytest

from app.cli.bootstrap_key import KEY_FILE, with_bootstrap_key
from app.core.settings import InvalidSetting, Settings, StoreKind


def key_of(settings: Settings) -> str:
    assert settings.admin_bootstrap_key is not None
    return settings.admin_bootstrap_key.get_secret_value()


def test_the_first_start_makes_a_key_shows_it_and_keeps_it_to_its_owner(tmp_path: Path) -> None:
    found = with_bootstrap_key(Settings.for_tests(live_memory_data_dir=tmp_path / "data"))
    key = key_of(found.settings)
    kept = tmp_path / "data" / KEY_FILE
    assert len(key) == 64
    assert key in found.sentences[0]
    assert kept.read_text() == key + "\n"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in kept.parent.iterdir()] == [KEY_FILE]


def test_a_later_start_takes_the_same_key_and_does_not_show_it(tmp_path: Path) -> None:
    settings = Settings.for_tests(live_memory_data_dir=tmp_path)
    key = key_of(with_bootstrap_key(settings).settings)
    again = with_bootstrap_key(settings)
    assert key_of(again.settings) == key
    assert key not in " ".join(again.sentences)
    assert str(tmp_path / KEY_FILE) in again.sentences[0]


def test_a_key_of_the_operator_is_taken_as_it_is(tmp_path: Path) -> None:
    settings = Settings.for_tests(live_memory_data_dir=tmp_path, admin_bootstrap_key="x" * 32)
    assert with_bootstrap_key(settings).settings is settings
    assert list(tmp_path.iterdir()) == []


def test_a_memory_that_is_not_kept_keeps_no_key(tmp_path: Path) -> None:
    settings = Settings.for_tests(live_memory_data_dir=tmp_path, live_memory_store=StoreKind.MEMORY)
    first, second = with_bootstrap_key(settings), with_bootstrap_key(settings)
    assert key_of(first.settings) != key_of(second.settings)
    assert key_of(first.settings) in first.sentences[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "short\n", "é" * 40, "\n" * 40])
def test_a_file_that_holds_no_key_stops_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / KEY_FILE).write_text(content)
    with pytest.raises(InvalidSetting, match="does not hold an administrator's key"):
        with_bootstrap_key(Settings.for_tests(live_memory_data_dir=tmp_path))


def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidSetting, match=r"^LIVE_MEMORY_DATA_DIR: "):
        with_bootstrap_key(Settings.for_tests(live_memory_data_dir=tmp_path / "file" / "data"))
