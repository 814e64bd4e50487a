import stat
import tomllib
from pathlib import Path

import pytest

from app.cli.profiles import Configuration, Profile, Unusable, configuration_file, state_folder

WORK = Profile("work", "https://work.example", "lm_live_work")
LAB = Profile("lab", "https://lab.example", "", "~/lab.token")


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "HOME": str(tmp_path)}


def written(home: dict[str, str], text: str, mode: int = 0o600) -> Path:
    path = configuration_file(home)
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_without_a_file_there_is_no_profile(home: dict[str, str]) -> None:
    assert Configuration.load(home).profiles == {}


def test_what_is_saved_is_read_again(home: dict[str, str]) -> None:
    Configuration.load(home).with_profile(WORK).with_profile(LAB).using("lab").save()
    read = Configuration.load(home)
    assert (read.default, read.profiles) == ("lab", {"work": WORK, "lab": LAB})


def test_any_text_survives(home: dict[str, str]) -> None:
    odd = Profile("odd", 'https://a.example/"\\\t\x7fü😀')
    Configuration.load(home).with_profile(odd).save()
    assert Configuration.load(home).profile("odd") == odd
    assert tomllib.loads(configuration_file(home).read_text(encoding="utf-8"))["default"] == "odd"


def test_the_file_is_for_its_user_alone(home: dict[str, str]) -> None:
    Configuration.load(home).with_profile(WORK).save()
    path = configuration_file(home)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["config.toml"]


def test_a_file_with_a_token_that_others_may_read_is_refused(home: dict[str, str]) -> None:
    path = written(home, '[profiles.work]\nurl = "https://a"\ntoken = "secret"\n', 0o644)
    with pytest.raises(Unusable, match="chmod 600") as refused:
        Configuration.load(home)
    assert "secret" not in str(refused.value)
    path.write_text('[profiles.work]\nurl = "https://a"\n', encoding="utf-8")
    assert Configuration.load(home).profile("work").url == "https://a"


def test_the_first_profile_is_the_default_until_it_is_removed(home: dict[str, str]) -> None:
    both = Configuration.load(home).with_profile(WORK).with_profile(LAB)
    assert both.default == "work"
    assert both.without("lab").default == "work"
    assert both.without("work").default == ""
    assert list(both.without("work").profiles) == ["lab"]


@pytest.mark.parametrize("name", ["without", "using"])
def test_an_absent_profile_cannot_be_removed_or_used(home: dict[str, str], name: str) -> None:
    with pytest.raises(Unusable, match="no profile 'nope'"):
        getattr(Configuration.load(home), name)("nope")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profiles = ", "is not TOML"),
        ('defualt = "work"\n', "unknown key `defualt`"),
        ('default = "work"\n', "names no profile"),
        ("profiles = 1\n", "one table a profile"),
        ("[profiles.work]\n", "has no `url`"),
        ('[profiles.work]\nurl = "https://a"\ntokn = "x"\n', "unknown key `tokn`"),
        ('[profiles.work]\nurl = "https://a"\ntoken = "x"\ntoken_file = "y"\n', "keep one"),
        ("[profiles.work]\nurl = 1\n", "as texts"),
        ('[profiles."a b"]\nurl = "https://a"\n', "letters, digits"),
    ],
)
def test_a_file_that_cannot_be_understood_is_refused_with_a_sentence(
    home: dict[str, str], text: str, said: str
) -> None:
    written(home, text)
    with pytest.raises(Unusable, match=said):
        Configuration.load(home)


def test_a_place_that_cannot_be_written_is_told(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "config").write_text("a file", encoding="utf-8")
    with pytest.raises(Unusable, match="cannot be"):
        Configuration(configuration_file(home)).with_profile(WORK).save()


def test_where_things_are_kept() -> None:
    assert configuration_file({"HOME": "/h"}) == Path("/h/.config/live-memory/config.toml")
    assert configuration_file({"HOME": "/h", "XDG_CONFIG_HOME": "relative"}) == Path(
        "/h/.config/live-memory/config.toml"
    )
    assert state_folder({"HOME": "/h", "XDG_STATE_HOME": "/s"}) == Path("/s/live-memory")


def test_a_token_is_not_shown_by_accident() -> None:
    assert "lm_live_work" not in repr(WORK)
