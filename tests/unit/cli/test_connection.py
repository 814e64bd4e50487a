from pathlib import Path

import pytest

from app.cli.connection import DEFAULT_URL, Connection, base_address, is_local, resolve
from app.cli.profiles import Configuration, Profile, Unusable

WORK = "https://work.example"
OF_WORK, TYPED, MINE, KEPT, SET = (f"lm_live_{word}" for word in ("work", "typed", "mine", "kept", "set"))


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment of a user with two profiles, the first the default, in a folder without a service."""
    environment = {"HOME": str(tmp_path), "LIVE_MEMORY_DATA_DIR": str(tmp_path / "data")}
    configuration = Configuration.load(environment)
    for profile in (Profile("work", WORK, token=OF_WORK), Profile("lab", "https://lab.example")):
        configuration = configuration.with_profile(profile)
    configuration.save()
    return environment


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "LIVE_MEMORY_DATA_DIR": str(tmp_path / "data")}


def secret(path: Path, text: str = f"{KEPT}\n", mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_without_a_word_it_is_this_machine(bare: dict[str, str]) -> None:
    target = resolve(Connection(), bare)
    assert (target.url, target.token, target.url_from) == (DEFAULT_URL, None, "the default")


def test_options_come_before_the_environment_and_that_before_a_profile(home: dict[str, str]) -> None:
    target = resolve(Connection(), home)
    assert (target.url, target.token) == (WORK, OF_WORK)
    told = {**home, "MCP_URL": "http://env.example:1/", "MCP_TOKEN": SET}
    target = resolve(Connection(), told)
    assert (target.url, target.token) == ("http://env.example:1", SET)
    target = resolve(Connection(url="http://option.example", token=TYPED), told)
    assert (target.url, target.token) == ("http://option.example", TYPED)


def test_a_profile_that_is_named_comes_before_the_environment(home: dict[str, str]) -> None:
    told = {**home, "MCP_URL": "http://env.example", "MCP_TOKEN": SET}
    target = resolve(Connection(profile="work"), told)
    assert (target.url, target.token) == (WORK, OF_WORK)
    target = resolve(Connection(profile="lab"), told)
    assert (target.url, target.token) == ("https://lab.example", SET)


def test_the_environment_may_name_the_profile(home: dict[str, str]) -> None:
    assert resolve(Connection(), {**home, "LIVE_MEMORY_PROFILE": "lab"}).url == "https://lab.example"


def test_the_token_of_a_profile_goes_to_its_own_address_only(home: dict[str, str]) -> None:
    for elsewhere in (Connection(url="https://evil.example"), Connection(url="https://evil.example", profile="work")):
        assert resolve(elsewhere, home).token is None
    assert resolve(Connection(), {**home, "MCP_URL": "https://evil.example"}).token is None
    assert resolve(Connection(url=f"{WORK}/mcp"), home).token == OF_WORK


def test_the_key_of_this_machine_opens_the_default_address_only(bare: dict[str, str]) -> None:
    path = secret(Path(bare["LIVE_MEMORY_DATA_DIR"]) / "bootstrap.key", "k" * 64)
    target = resolve(Connection(), bare)
    assert (target.token, target.token_from, target.is_local_key) == ("k" * 64, str(path), True)
    assert resolve(Connection(url="http://127.0.0.1:9999"), bare).token is None
    assert resolve(Connection(url="https://memory.example"), bare).token is None
    assert resolve(Connection(token=MINE), bare).token == MINE
    path.chmod(0o644)
    assert resolve(Connection(), bare).token is None


def test_a_token_file_is_read(bare: dict[str, str], tmp_path: Path) -> None:
    path = secret(tmp_path / "token")
    assert resolve(Connection(token_file=path), bare).token == KEPT
    assert resolve(Connection(), {**bare, "MCP_TOKEN_FILE": str(path)}).token == KEPT


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_token_file_that_others_may_read_is_refused(bare: dict[str, str], tmp_path: Path, mode: int) -> None:
    path = secret(tmp_path / "token", mode=mode)
    with pytest.raises(Unusable, match=r"^Other users of this machine may read .*chmod 600"):
        resolve(Connection(token_file=path), bare)


def test_what_contradicts_itself_is_refused(bare: dict[str, str], tmp_path: Path) -> None:
    path = secret(tmp_path / "token")
    with pytest.raises(Unusable, match="--token and --token-file"):
        resolve(Connection(token=MINE, token_file=path), bare)
    with pytest.raises(Unusable, match="MCP_TOKEN and MCP_TOKEN_FILE"):
        resolve(Connection(), {**bare, "MCP_TOKEN": "a", "MCP_TOKEN_FILE": str(path)})


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_token_file_is_refused(bare: dict[str, str], tmp_path: Path, text: str) -> None:
    with pytest.raises(Unusable, match="is empty"):
        resolve(Connection(token_file=secret(tmp_path / "token", text)), bare)


def test_a_token_that_no_header_carries_is_refused(bare: dict[str, str]) -> None:
    for token in ("two words", "lm_live_ü", "line\nbreak", ""):
        with pytest.raises(Unusable, match="printable ASCII"):
            resolve(Connection(token=token), bare)


def test_an_absent_profile_or_token_file_is_named(home: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(Unusable, match=r"no profile 'nope' .*work, lab"):
        resolve(Connection(profile="nope"), home)
    with pytest.raises(Unusable, match="absent"):
        resolve(Connection(token_file=tmp_path / "absent"), home)


@pytest.mark.parametrize(
    ("address", "base"),
    [
        ("http://127.0.0.1:8002/", "http://127.0.0.1:8002"),
        ("https://memory.example/mcp", "https://memory.example"),
        ("https://memory.example/sse", "https://memory.example"),
        ("https://memory.example/team/api/v1/", "https://memory.example/team"),
        ("http://[::1]:8002", "http://[::1]:8002"),
    ],
)
def test_any_face_of_a_service_names_the_service(address: str, base: str) -> None:
    assert base_address(address, "--url") == base


@pytest.mark.parametrize(
    "address",
    ["", "memory.example", "ftp://memory.example", "http://", "http://user:secret@memory.example", "http://a?b=c",
     "http://a:99999", "http://[::1", "http://a:0"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Unusable, match=r"^--url: ") as refused:
        base_address(address, "--url")
    if "user" in address:
        assert "secret" not in str(refused.value)


def test_what_this_machine_is_called() -> None:
    assert all(map(is_local, ["http://localhost:1", "http://127.0.0.2", "http://[::1]:8002"]))
    assert not any(map(is_local, ["http://10.0.0.1", "https://localhost.example"]))


def test_options_before_the_command_are_completed_by_those_after_it() -> None:
    before = Connection(url="http://a", token=MINE, profile="work")
    assert Connection(url="http://b").over(before) == Connection("http://b", MINE, None, "work")
    assert Connection(token_file=Path("t")).over(before) == Connection("http://a", None, Path("t"), "work")
    assert Connection(url="http://b").over(None) == Connection("http://b")


def test_a_token_is_not_shown_by_accident(bare: dict[str, str]) -> None:
    assert MINE not in repr(Connection(token=MINE))
    assert MINE not in repr(resolve(Connection(token=MINE), bare))
