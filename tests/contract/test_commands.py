"""What the command line promises: a command for each operation, made from what the code declares."""

import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
import typer
from typer.main import get_command

from app.catalogue import CATALOGUE
from app.cli.commands import POSITIONAL, add_commands, parameter_of, words
from app.cli.main import app as live_memory
from app.cli.table import Described, as_text, file_option, load, parsed
from app.cli.views import VIEWS
from app.core.settings import Settings, StoreKind, ToolSet
from app.main import create
from tests.e2e.conftest import ROOT, environment

OPERATIONS = {one.name: one for one in load()}
EACH = pytest.mark.parametrize("name", OPERATIONS)
HEAVY = ("fastapi", "mcp", "starlette", "uvicorn")

COMMANDS = {
    "system_health": "health",
    "system_about": "about",
    "space_create": "space create",
    "space_list": "space list",
    "space_info": "space info",
    "space_rules": "space rules",
    "space_summary": "space summary",
    "space_export": "space export",
    "space_delete": "space delete",
    "live_note": "live note",
    "live_read": "live read",
    "live_search": "live search",
    "bank_read": "bank read",
    "bank_read_all": "bank read-all",
    "bank_list": "bank list",
    "bank_consolidate": "bank consolidate",
    "backup_create": "backup create",
    "backup_list": "backup list",
    "backup_restore": "backup restore",
    "backup_download": "backup download",
    "backup_delete": "backup delete",
    "admin_create_token": "token create",
    "admin_list_tokens": "token list",
    "admin_revoke_token": "token revoke",
    "admin_update_token": "token update",
    "admin_gc_notes": "gc",
}
"""What people type, whatever the code says."""
PLACES = {
    "space_create": ["space_id"],
    "live_note": ["space_id", "category", "content"],
    "live_search": ["space_id", "query"],
    "bank_read": ["space_id", "filename"],
    "bank_compact": ["space_id", "filename"],
    "backup_create": ["space_id"],
    "backup_list": [],
    "backup_restore": ["backup_id"],
    "admin_create_token": ["name"],
    "admin_revoke_token": ["token_hash"],
    "admin_update_token": ["token_hash"],
    "admin_gc_notes": [],
}


def command_of(operation: Described) -> Any:
    """The command of the product that carries out the operation."""
    command: Any = get_command(live_memory)
    for word in words(operation.name):
        command = command.commands[word]
    return command


def positional(command: Any) -> list[str]:
    return [one.name for one in command.params if one.param_type_name == "argument"]


def options(command: Any) -> dict[str, list[str]]:
    return {one.name: [*one.opts, *one.secondary_opts] for one in command.params if one.param_type_name == "option"}


def test_the_table_is_what_the_code_declares() -> None:
    app = create(Settings.for_tests(live_memory_store=StoreKind.MEMORY, mcp_tools=ToolSet.FULL))
    fresh = as_text(app.openapi())
    kept = (ROOT / "app/cli/operations.json").read_text(encoding="utf-8")
    assert kept == fresh, "run `make openapi`"
    assert sorted(OPERATIONS) == sorted(one.name for noun in CATALOGUE for one in noun.declared)


def test_the_26_commands_are_called_as_people_know_them() -> None:
    assert {name: " ".join(words(name)) for name in OPERATIONS if name in COMMANDS} == COMMANDS


def test_later_operations_are_called_by_their_noun() -> None:
    assert {" ".join(words(name)) for name in OPERATIONS if name not in COMMANDS} >= {
        "whoami", "space update", "space update-rules", "bank history", "bank diff", "bank revert", "bank note",
        "bank write", "bank delete", "bank repair", "job get", "job cancel", "job events", "token delete",
        "token purge",
    }  # fmt: skip


def test_no_two_operations_share_a_command() -> None:
    assert [command for command, times in Counter(map(words, OPERATIONS)).items() if times > 1] == []


@EACH
def test_an_operation_is_reached_by_its_command(name: str) -> None:
    assert command_of(OPERATIONS[name]).callback.__name__ == name


@EACH
def test_a_command_takes_every_argument_of_its_operation(name: str) -> None:
    operation = OPERATIONS[name]
    command = command_of(operation)
    taken = {*positional(command), *options(command)}
    assert {parameter_of(argument.name) for argument in operation.arguments} <= taken
    for argument in operation.arguments:
        flag = file_option(name, argument.name)
        assert (f"{argument.name}_file" in taken) is bool(flag)
        assert not flag or flag in options(command)[f"{argument.name}_file"]
    assert {"as_json", "url", "bearer", "token_file", "profile"} <= taken


@EACH
def test_what_is_part_of_the_address_is_positional_and_little_else(name: str) -> None:
    operation = OPERATIONS[name]
    in_address = [argument.name for argument in operation.arguments if argument.place == "path"]
    assert positional(command_of(operation)) == [*in_address, *POSITIONAL.get(name, ())]
    assert positional(command_of(operation)) == PLACES.get(name, in_address)


@EACH
def test_what_cannot_be_undone_has_a_yes(name: str) -> None:
    operation = OPERATIONS[name]
    assert ("--yes" in options(command_of(operation)).get("confirm", [])) is operation.needs_confirmation


def test_the_operations_that_want_a_confirmation_are_known() -> None:
    wanted = {name for name, one in OPERATIONS.items() if one.needs_confirmation}
    assert wanted >= {"space_delete", "backup_restore", "backup_delete", "bank_delete", "admin_delete_token"}
    assert "admin_gc_notes" not in wanted


def test_a_view_belongs_to_an_operation() -> None:
    assert VIEWS.keys() <= OPERATIONS.keys()
    assert OPERATIONS.keys() - VIEWS.keys() == {"space_export", "backup_download", "job_events"}


def test_what_a_job_carries_out_can_fail_as_the_operation_says() -> None:
    assert {name for name, one in OPERATIONS.items() if one.failures} == {"bank_consolidate", "bank_compact"}
    failures = OPERATIONS["bank_consolidate"].failures
    assert (failures["llm_failed"], failures["store_unavailable"], failures["bank_busy"]) == (502, 503, 409)
    assert {name for name, one in OPERATIONS.items() if one.is_stream} == {"job_events"}


def test_a_word_of_pythons_own_is_an_option_like_any_other() -> None:
    assert options(command_of(OPERATIONS["bank_diff"]))["from_"] == ["--from"]


def test_an_operation_of_a_later_release_gets_a_command_by_itself() -> None:
    [one] = parsed(
        {
            "operations": [
                {
                    "name": "bank_history_read", "method": "GET", "path": "/api/v1/spaces/{space_id}/history",
                    "title": "Read [the] history.", "description": "", "permission": "read", "timeout": 60.0,
                    "greedy": [], "is_archive": False, "needs_confirmation": False,
                    "arguments": [
                        {"name": "space_id", "place": "path", "type": "string", "required": True, "default": None,
                         "choices": [], "description": "The space."},
                        {"name": "newest_first", "place": "query", "type": "boolean", "required": False,
                         "default": True, "choices": [], "description": "Order."},
                        {"name": "names", "place": "query", "type": "strings", "required": False, "default": None,
                         "choices": [], "description": "Which."},
                    ],
                }
            ]
        }
    )  # fmt: skip
    app = typer.Typer()
    add_commands(app, [one])
    command: Any = get_command(app)
    command = command.commands["bank"].commands["history-read"]
    assert positional(command) == ["space_id"]
    assert options(command)["newest_first"] == ["--newest-first", "--no-newest-first"]
    assert options(command)["names"] == ["--names"]


def loaded_by(*arguments: str) -> set[str]:
    """The packages that are loaded at the end of a run of the command."""
    program = (
        "import sys\nfrom app.cli.main import app\n"
        f"try:\n    app({list(arguments)!r})\nexcept SystemExit:\n    pass\n"
        "sys.stderr.write('\\n' + ' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "arguments", [("--help",), ("space", "--help"), ("live", "note", "--help"), ("profile", "list")]
)
def test_help_is_quick_it_loads_no_server_and_no_http_client(arguments: tuple[str, ...]) -> None:
    assert loaded_by(*arguments).isdisjoint({*HEAVY, "httpx"})


def test_a_client_command_loads_no_server() -> None:
    loaded = loaded_by("health", "--url", "http://127.0.0.1:1")
    assert loaded.isdisjoint(HEAVY)
    assert {"httpx", "rich"} <= loaded, "or the test looks at the wrong thing"
