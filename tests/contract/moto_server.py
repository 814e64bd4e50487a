"""A simulated S3 in a process of its own, with the answers of AWS: `python moto_server.py HOST PORT`.

moto looks at a condition and writes a moment later, in as many threads as there are requests: on a busy machine two of
a race then win, which is what a server does that keeps no conditions. Here its requests come one after the other.
"""

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def in_turn(application: Application) -> Application:
    """The application, asked by one thread at a time."""
    turn = threading.Lock()

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        with turn:
            return list(application(environ, start_response))

    return answer


if __name__ == "__main__":
    simulated = in_turn(DomainDispatcherApplication(create_backend_app))
    run_simple(sys.argv[1], int(sys.argv[2]), simulated, threaded=True, request_handler=MotoRequestHandler)
