"""ASP.NET route templates, as the Functions host uses them.

https://learn.microsoft.com/aspnet/core/fundamentals/routing#route-constraints
"""

import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote

_PARAMETER = re.compile(r"\{(\*{0,2})([A-Za-z_][A-Za-z0-9_]*)((?::[^:?=(]+(?:\([^)]*\))?)*)(\?)?(?:=([^}]*))?\}")


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]{1,19}", text) is not None


_CHECKS: dict[str, Callable[[str, list[str]], bool]] = {
    "int": lambda text, _: re.fullmatch(r"[+-]?\d{1,10}", text) is not None and -(2**31) <= int(text) < 2**31,
    "long": lambda text, _: re.fullmatch(r"[+-]?\d{1,19}", text) is not None,
    "bool": lambda text, _: text.lower() in ("true", "false"),
    "alpha": lambda text, _: re.fullmatch(r"[A-Za-z]*", text) is not None,
    "guid": lambda text, _: re.fullmatch(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}", text) is not None,
    "min": lambda text, of: _is_whole(text) and int(text) >= int(of[0]),
    "max": lambda text, of: _is_whole(text) and int(text) <= int(of[0]),
    "range": lambda text, of: _is_whole(text) and int(of[0]) <= int(text) <= int(of[1]),
    "length": lambda text, of: int(of[0]) <= len(text) <= int(of[-1]),
    "minlength": lambda text, of: len(text) >= int(of[0]),
    "maxlength": lambda text, of: len(text) <= int(of[0]),
    "regex": lambda text, of: re.search(",".join(of), text, re.IGNORECASE) is not None,
}


class RouteTable[Function]:
    """Routes in the order in which the host tries them: by the names of their functions, without case.

    FunctionMetadataManager.cs sorts them so, and a plain RouteCollection takes the first that matches path and method:
    neither the order of registration nor the precedence of literal segments counts, and a wrong method is 404.
    """

    def __init__(self, entries: Iterable[tuple[str, str, Iterable[str], Function]]) -> None:
        """Each entry: the function's name, its template, its methods (none: all), and the function itself."""
        found = sorted(entries, key=lambda entry: entry[0].lower())
        self._entries = [
            (Route(template), {method.upper() for method in methods}, function)
            for _, template, methods, function in found
        ]

    def pick(self, method: str, path: str) -> tuple[Function, dict[str, str]] | None:
        """The function for a request, and the route's values; None where the host answers 404."""
        for route, methods, function in self._entries:
            if methods and method.upper() not in methods:
                continue
            values = route.match(path)
            if values is not None:
                return function, values
        return None


class Route:
    """One template. Raises ValueError for a constraint that ASP.NET does not know."""

    def __init__(self, template: str) -> None:
        self.template = template
        self._constraints: dict[str, list[tuple[str, list[str]]]] = {}
        self._defaults: dict[str, str] = {}
        self._pattern = re.compile("".join(map(self._segment, template.strip("/").split("/"))) + "/?", re.IGNORECASE)

    def match(self, path: str) -> dict[str, str] | None:
        """The route's values in a percent-encoded path, or None."""
        found = self._pattern.fullmatch("/" + path.strip("/")) if "//" not in path else None
        if found is None:
            return None
        values = {name: unquote(value) for name, value in found.groupdict().items() if value}
        for name, constraints in self._constraints.items():
            if name in values and not all(_CHECKS[kind](values[name], of) for kind, of in constraints):
                return None
        return {**self._defaults, **values}

    def _segment(self, segment: str) -> str:
        pattern, position, optional = "", 0, False
        for found in _PARAMETER.finditer(segment):
            catch_all, name, constraints, may_lack, default = found.groups()
            pattern += re.escape(segment[position : found.start()])
            pattern += f"(?P<{name}>{'.*' if catch_all else '[^/]+'})"
            position = found.end()
            optional = bool(may_lack) or default is not None or bool(catch_all)
            if default is not None:
                self._defaults[name] = default
            self._constraints[name] = [
                self._constraint(text) for text in re.findall(r":([^:(]+(?:\([^)]*\))?)", constraints)
            ]
        pattern += re.escape(segment[position:])
        return f"(?:/{pattern})?" if optional else f"/{pattern}"

    def _constraint(self, text: str) -> tuple[str, list[str]]:
        kind, _, arguments = text.partition("(")
        if kind not in _CHECKS:
            raise ValueError(f"route {self.template!r}: unknown constraint {kind!r}")
        return kind, [one.strip() for one in arguments.removesuffix(")").split(",")] if arguments else []
