"""`make eval`: how good a bank gets with a good model, and what a bad one can do to it."""

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.eval.memories import MEMORIES
from tests.eval.playing import AUTHORS
from tests.eval.report import page
from tests.eval.results import CONCATENATION, Task, result_of

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.eval", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="projects that are made up (%(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="consolidations of each (%(default)s)")
    parser.add_argument("--notes", type=int, default=12, help="notes in a round (%(default)s)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the page goes (%(default)s)")
    asked = parser.parse_args()
    tasks = [
        Task(author, seed, seed % len(MEMORIES), asked.rounds, asked.notes)
        for author in (CONCATENATION, *AUTHORS)
        for seed in range(1, asked.seeds + 1)
    ]
    with ProcessPoolExecutor(
        max_workers=min(os.cpu_count() or 1, 4), mp_context=multiprocessing.get_context("spawn")
    ) as pool:
        results = list(pool.map(result_of, tasks))
    text = page(
        results, seeds=asked.seeds, memories=len(MEMORIES), rounds=asked.rounds, notes=asked.rounds * asked.notes
    )
    asked.output.write_text(text, encoding="utf-8")
    print(text)  # noqa: T201 - this is what the command is for


if __name__ == "__main__":
    main()
