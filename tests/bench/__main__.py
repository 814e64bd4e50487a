"""`make bench`: every operation alone, then the service under load."""

import argparse

from rich.console import Console

from app.core.logging import configure_logging
from tests.bench.load import measure_load
from tests.bench.operations import measure_operations


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--notes", type=int, default=1000, help="notes in the space (%(default)s)")
    parser.add_argument("--reads", type=int, default=300, help="calls of each kind of read under load (%(default)s)")
    parser.add_argument("--callers", type=int, default=20, help="calls in flight under load (%(default)s)")
    options = parser.parse_args()
    configure_logging(level="ERROR")
    console = Console()
    measure_operations(console, notes=options.notes)
    if not measure_load(console, notes=options.notes, reads=options.reads, callers=options.callers):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
