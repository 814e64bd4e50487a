"""Which addresses the service has: asked by the middleware, which runs before the router does."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute, Route, compile_path

from app.core.identity import Permission
from app.core.operation import Operation


@dataclass(frozen=True, slots=True)
class _Entry:
    pattern: re.Pattern[str]
    template: str
    methods: frozenset[str]
    public: bool


class RouteTable:
    """The addresses of the operations, and of whatever the application serves beside them."""

    def __init__(self, operations: Iterable[Operation], beside: Sequence[BaseRoute]) -> None:
        self._operations = [
            _Entry(
                pattern=compile_path(operation.path)[0],
                template=operation.plain_path,
                methods=frozenset({operation.method}),
                public=operation.permission is Permission.PUBLIC,
            )
            for operation in operations
        ]
        self._beside = beside
        """The application's own list: a route added later is seen too."""

    def _entries(self, path: str) -> list[_Entry]:
        found = [entry for entry in self._operations if entry.pattern.match(path)]
        found += [
            _Entry(route.path_regex, route.path, frozenset(route.methods or ()), public=False)
            for route in self._beside
            if isinstance(route, Route) and route.path_regex.match(path)
        ]
        return found

    def methods(self, path: str) -> frozenset[str]:
        """Every method that some route of this address answers."""
        return frozenset[str]().union(*(entry.methods for entry in self._entries(path)))

    def template(self, method: str, path: str) -> str | None:
        """The template of the route that answers, arguments in braces; None when none does."""
        entries = self._entries(path)
        answering = [entry for entry in entries if not entry.methods or method in entry.methods]
        return next((entry.template for entry in answering or entries), None)

    def is_public(self, method: str, path: str) -> bool:
        """Whether the operation at this address may be called without a token."""
        return any(entry.public and method in entry.methods for entry in self._operations if entry.pattern.match(path))
