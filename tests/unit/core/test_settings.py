import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.core.settings import InvalidSetting, Settings, StoreKind, ToolSet

STRONG = "k" * 32
ROOT = Path(__file__).parents[3]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment itself is what is under test here: an empty one, in an empty folder."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    return monkeypatch


def test_nothing_set_is_a_service_for_this_machine_alone(environment: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - it empties the environment
    settings = Settings.load()
    assert (settings.mcp_server_host, settings.mcp_server_port) == ("127.0.0.1", 8002)
    assert settings.live_memory_store is StoreKind.DIRECTORY
    assert settings.consolidation_batch_size == 24
    assert settings.mcp_tools is ToolSet.CORE
    assert settings.admin_bootstrap_key is None
    assert settings.hosts == ("localhost", "127.0.0.1", "[::1]")


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(environment: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MCP_SERVER_PORT=1\nMCP_SERVER_NAME=From the file\nSOMETHING_ELSE=1\n")
    environment.setenv("MCP_SERVER_PORT", "2")
    assert Settings.load().mcp_server_port == 2
    assert Settings.load().mcp_server_name == "From the file"
    assert Settings.load(mcp_server_port=3, mcp_server_host=None).mcp_server_port == 3


def test_an_empty_value_is_not_set(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("MCP_SERVER_PORT", "")
    environment.setenv("ADMIN_BOOTSTRAP_KEY", "")
    environment.setenv("ADMIN_BOOTSTRAP_KEY_FILE", "")
    environment.setenv("S3_BUCKET_NAME", "")
    assert Settings.load().mcp_server_port == 8002
    assert Settings.load().admin_bootstrap_key is None
    assert Settings.load().live_memory_store is StoreKind.DIRECTORY


@pytest.mark.parametrize("name", ["S3_ENDPOINT_URL", "S3_BUCKET_NAME"])
def test_naming_a_bucket_means_s3_unless_the_store_is_named(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, "http://x")
    environment.setenv("S3_ACCESS_KEY_ID", "name")
    environment.setenv("S3_SECRET_ACCESS_KEY", "secret")
    assert Settings.load().live_memory_store is StoreKind.S3
    environment.setenv("LIVE_MEMORY_STORE", "Directory")
    assert Settings.load().live_memory_store is StoreKind.DIRECTORY


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"S3_ACCESS_KEY_ID": ""}, r"^S3_ACCESS_KEY_ID is missing"),
        ({"S3_SECRET_ACCESS_KEY": ""}, r"^S3_SECRET_ACCESS_KEY, or S3_SECRET_ACCESS_KEY_FILE, is missing"),
        ({"S3_ENDPOINT_URL": "minio:9000"}, r"^S3_ENDPOINT_URL must begin with"),
        ({"S3_CA_FILE": "/there/is/none"}, r"^S3_CA_FILE: there is no file"),
        ({"S3_CONDITIONAL_WRITES": "off", "REPLICAS": "2"}, r"^REPLICAS must be 1"),
        ({"S3_SIGNATURE": "v3"}, r"^S3_SIGNATURE is wrong"),
        ({"REPLICAS": "0"}, r"^REPLICAS is wrong"),
    ],
)
def test_what_a_bucket_needs_is_asked_for_in_one_sentence(
    environment: pytest.MonkeyPatch, changed: dict[str, str], sentence: str
) -> None:
    right = {"LIVE_MEMORY_STORE": "s3", "S3_ACCESS_KEY_ID": "name", "S3_SECRET_ACCESS_KEY": "secret"}
    for name, value in right.items():
        environment.setenv(name, value)
    assert Settings.load().s3_endpoint_url == "", "AWS itself"
    for name, value in changed.items():
        environment.setenv(name, value)
    with pytest.raises(InvalidSetting, match=sentence):
        Settings.load()


def test_nothing_of_s3_is_needed_for_another_store(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("S3_CONDITIONAL_WRITES", "off")
    environment.setenv("REPLICAS", "2")
    assert Settings.load().live_memory_store is StoreKind.DIRECTORY


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MCP_SERVER_PORT", "eighty"),
        ("MCP_SERVER_PORT", "65536"),
        ("LIVE_MEMORY_STORE", "tape"),
        ("MCP_TOOLS", "some"),
        ("SSE_ENABLED", "perhaps"),
        ("LOG_LEVEL", "LOUD"),
        ("CONSOLIDATION_MAX_NOTES", "0"),
    ],
)
def test_a_wrong_value_is_one_sentence_that_names_the_variable(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(name, value)
    with pytest.raises(InvalidSetting, match=rf"^{name} is wrong: [^\n]+\.$"):
        Settings.load()


@pytest.mark.parametrize(
    "key", ["short-and-secret", "change_me_in_production", "ChangeMe", "password", "admin", "é" * 40]
)
def test_a_weak_key_is_refused_without_being_shown(environment: pytest.MonkeyPatch, key: str) -> None:
    environment.setenv("MCP_SERVER_HOST", "0.0.0.0")  # noqa: S104 - the case in which it matters
    environment.setenv("ADMIN_BOOTSTRAP_KEY", key)
    with pytest.raises(InvalidSetting, match=r"^ADMIN_BOOTSTRAP_KEY ") as refused:
        Settings.load()
    if "placeholder" not in str(refused.value):
        assert key not in str(refused.value)
    environment.setenv("ADMIN_BOOTSTRAP_KEY", STRONG)
    assert Settings.load().admin_bootstrap_key is not None


def test_a_weak_key_will_do_where_nobody_else_can_reach(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ADMIN_BOOTSTRAP_KEY", "dev")
    for host in ("127.0.0.1", "localhost", "::1", "127.8.9.1"):
        environment.setenv("MCP_SERVER_HOST", host)
        assert Settings.load().admin_bootstrap_key is not None


@pytest.mark.parametrize("name", [name.upper() for name in Settings.secrets])
def test_a_secret_may_come_from_a_file(environment: pytest.MonkeyPatch, name: str) -> None:
    Path("secret").write_text(STRONG + "\n")
    environment.setenv(f"{name}_FILE", "secret")
    secret = getattr(Settings.load(), name.lower())
    assert secret.get_secret_value() == STRONG
    environment.setenv(name, STRONG)
    with pytest.raises(InvalidSetting, match=rf"^{name} and {name}_FILE are both set"):
        Settings.load()


def test_a_file_that_is_missing_or_empty_stops_the_start(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ADMIN_BOOTSTRAP_KEY_FILE", "absent")
    with pytest.raises(InvalidSetting, match=r"^ADMIN_BOOTSTRAP_KEY_FILE: the file 'absent' cannot be read"):
        Settings.load()
    Path("absent").write_text("\n")
    with pytest.raises(InvalidSetting, match=r"^ADMIN_BOOTSTRAP_KEY_FILE: the file 'absent' is empty"):
        Settings.load()


def test_lists_are_separated_by_commas(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALLOWED_HOSTS", "memory.example, memory.example:8443 ,")
    environment.setenv("ALLOWED_ORIGINS", "https://app.example")
    settings = Settings.load()
    assert settings.hosts == ("memory.example", "memory.example:8443")
    assert settings.mcp_hosts == ("memory.example", "memory.example:8443", "memory.example:*")
    assert settings.origins == ("https://app.example",)


def test_a_service_for_other_machines_answers_for_any_name_and_trusts_no_page() -> None:
    settings = Settings.for_tests(mcp_server_host="0.0.0.0", admin_bootstrap_key=STRONG)  # noqa: S104 - the case
    assert settings.hosts == ("*",)
    assert settings.origins == ()


def test_settings_for_tests_do_not_look_around(environment: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("MCP_SERVER_PORT=1\n")
    environment.setenv("MCP_SERVER_NAME", "Elsewhere")
    settings = Settings.for_tests(consolidation_max_notes=7)
    assert (settings.mcp_server_port, settings.mcp_server_name) == (8002, "Live Memory")
    assert settings.consolidation_max_notes == 7
    with pytest.raises(ValidationError):
        Settings.for_tests(mcp_server_port=-1)


def test_what_is_shown_hides_every_secret() -> None:
    secrets = dict.fromkeys(Settings.secrets, STRONG)
    shown = Settings.for_tests(**secrets).shown()
    assert STRONG not in str(shown)
    assert {shown[name.upper()] for name in Settings.secrets} == {"********"}
    assert Settings.for_tests().shown()["ADMIN_BOOTSTRAP_KEY"] == ""
    assert STRONG not in repr(Settings.for_tests(**secrets))


def test_every_setting_has_its_sentence() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_the_example_file_lists_every_variable_with_its_sentence_and_default() -> None:
    blocks = (ROOT / ".env.example").read_text(encoding="utf-8").strip().split("\n\n")[1:]
    listed = {}
    for block in blocks:
        *comment, line = block.splitlines()
        variable = re.fullmatch(r"#([A-Z0-9_]+)=(.*)", line)
        assert variable, line
        listed[variable[1]] = (" ".join(part.removeprefix("# ") for part in comment), variable[2])
    defaults = Settings.for_tests().shown()
    expected = {
        name.upper(): (" ".join((field.description or "").split()), defaults[name.upper()])
        for name, field in Settings.model_fields.items()
    }
    assert listed == expected
