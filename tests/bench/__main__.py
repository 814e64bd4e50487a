"""`make bench`: every operation alone, over a store near and far, a model's answer judged, the service under load."""

import argparse

from rich.console import Console

from app.core.logging import configure_logging
from tests.bench.answers import measure_answers
from tests.bench.distance import measure_distance
from tests.bench.load import measure_load
from tests.bench.operations import measure_operations

PARTS = ("operations", "distance", "answers", "load")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--notes", type=int, default=1000, help="notes in the space (%(default)s)")
    parser.add_argument("--reads", type=int, default=300, help="calls of each kind of read under load (%(default)s)")
    parser.add_argument("--callers", type=int, default=20, help="calls in flight under load (%(default)s)")
    parser.add_argument(
        "--latency", type=float, nargs="+", default=[0, 20], help="milliseconds of a round trip to the store (0 20)"
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="leave out the others")
    options = parser.parse_args()
    configure_logging(level="ERROR")
    console, parts = Console(), options.only or PARTS
    if "operations" in parts:
        measure_operations(console, notes=options.notes)
    if "distance" in parts:
        measure_distance(console, notes=options.notes, latencies=options.latency)
    if "answers" in parts:
        measure_answers(console)
    if "load" in parts and not measure_load(console, notes=options.notes, reads=options.reads, callers=options.callers):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
