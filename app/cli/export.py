"""`live-memory export openapi`: what the service says about itself, as files that are committed and compared."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.cli.reference import reference
from app.cli.table import as_text
from app.core.operation import Operation
from app.core.settings import Settings, StoreKind, ToolSet
from app.main import create
from app.mcp.bridge import tool_documents


def export(folder: Path) -> list[Path]:
    """Write `openapi.json`, `mcp-tools.json` and `OPERATIONS.md` into the folder, and return their paths."""
    app = create(Settings.for_tests(live_memory_store=StoreKind.MEMORY, mcp_tools=ToolSet.FULL))
    return write(folder, app.openapi(), tool_documents(app.state.bridge), app.operations)


def export_table(path: Path) -> Path:
    """Write the table that the command line is made from, and return its path."""
    text = as_text(create(Settings.for_tests(live_memory_store=StoreKind.MEMORY, mcp_tools=ToolSet.FULL)).openapi())
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as draft:
        (Path(draft) / path.name).write_text(text, encoding="utf-8")
        return (Path(draft) / path.name).replace(path)


def write(
    folder: Path,
    document: Mapping[str, Any],
    tools: Sequence[Mapping[str, Any]],
    operations: Sequence[Operation],
) -> list[Path]:
    """Write the three files: each is whole or as it was before."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "openapi.json": _as_json(document),
        "mcp-tools.json": _as_json({"tools": list(tools)}),
        "OPERATIONS.md": reference(document, operations),
    }
    with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as draft:
        for name, text in texts.items():
            (Path(draft) / name).write_text(text, encoding="utf-8")
        return [(Path(draft) / name).replace(folder / name) for name in texts]


def _as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"
