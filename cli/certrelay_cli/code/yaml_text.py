"""Read YAML as it is meant: `no`, `off` and dates are text, a key is there once, and no tag or alias does harm."""

import re
from collections.abc import Callable
from typing import Any

import yaml

MOST_VALUES = 1_000_000  # each as often as aliases repeat it
TAG = "tag:yaml.org,2002:"
MERGE = f"{TAG}merge"


class _Loader(yaml.SafeLoader):
    """Makes only what JSON has, and merges (`<<`)."""


def load(text: str) -> Any:
    """The values of the one document; None if it is empty. Raises ValueError with one clause, and the line."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        raise ValueError(_told(error)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"line {line}: YAML does not allow the character U+{error.character:04X}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _check(node: yaml.Node, sizes: dict[int, int]) -> int:
    """How many values the node stands for. `sizes`: those of the nodes that were seen; 0 while one is counted.

    Raises ConstructorError: too many values, one within itself, or a key that is there twice or is no plain value."""
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise _fault("an alias stands within what it repeats", node)
        return sizes[id(node)]
    sizes[id(node)] = 0
    children: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        children = [value for _, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = node.value
    sizes[id(node)] = size = 1 + sum(_check(child, sizes) for child in children)
    if size > MOST_VALUES:
        raise _fault(f"aliases make more than {MOST_VALUES:,} values of it", node)
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[tuple[str, str]] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _fault("a key must be a plain text", key)
        if (key.tag, key.value) in seen:
            raise _fault(f"{key.value!r} is there twice", key)
        seen.add((key.tag, key.value))


def _mapping(loader: Any, node: yaml.Node) -> dict[Any, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise _fault("it must be a mapping", node)
    loader.flatten_mapping(node)
    return {
        loader.construct_object(key_node, deep=True): loader.construct_object(value_node, deep=True)
        for key_node, value_node in node.value
    }


def _scalar(kind: str) -> Callable[[Any, Any], Any]:
    construct = yaml.SafeLoader.yaml_constructors[TAG + kind]

    def checked(loader: Any, node: Any) -> Any:
        try:
            return construct(loader, node)
        except (ValueError, LookupError):  # what is tagged as something else, or has thousands of digits
            raise _fault(f"{str(node.value)[:40]!r} is no {kind}", node) from None

    return checked


def _fault(text: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, text, node.start_mark)


def _told(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    context = f" ({error.context})" if error.context else ""
    tab = "; indent with spaces, not with tabs" if "'\\t'" in str(error.problem) else ""
    return f"{where}{error.problem or 'is no YAML'}{context}{tab}"


_Loader.yaml_constructors = {
    **{TAG + kind: _scalar(kind) for kind in ("null", "bool", "int", "float", "str")},
    TAG + "seq": yaml.SafeLoader.yaml_constructors[TAG + "seq"],
    TAG + "map": _mapping,
    None: yaml.SafeLoader.yaml_constructors[None],
}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":bool", ":timestamp", ":value"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _word in ("true", "false"):
    _Loader.yaml_implicit_resolvers.setdefault(_word[0], []).insert(0, (f"{TAG}bool", re.compile(f"^{_word}$")))
