"""Files that may hold a founding configuration, read as plain values: YAML documents, or a dict in a Python file.

A Python file is never executed: the dict is taken from its syntax tree, and only if it is made of plain values.
"""

import ast
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from unetkit.config import Yaml11, documents, read_text
from unetkit.errors import ConfigError

Values = dict[str, Any]
_NAME = "cfg_unet"
_MOST = 3  # values, help, choices


def founding_documents(path: Path, recognised: Callable[[Values], bool]) -> tuple[Values, ...] | None:
    """Return the documents of a founding configuration file; None where its first one is not recognised as one.

    Raises:
        ConfigError: the file is no text, or what follows the first document is not what a founding program reads.
    """
    text = read_text(path)
    values = _python_dict(text, path) if _NAME in text else None
    if values is not None:
        return (values,)
    found: list[Values] = []
    try:
        for document in documents(text, str(path), Yaml11):
            if not found and not (_is_mapping(document) and recognised(document)):
                return None
            found.append(_as_mapping(document, path))
            if len(found) > _MOST:
                raise ConfigError(f"{path}: more than {_MOST} documents; expected values, help and choices")
    except ConfigError:
        if found:
            raise
        return None  # whoever reads it as one of ours says what is wrong with it
    return tuple(found) or None


def unwrapped(values: Values) -> Values:
    """Return what stands below `cfg_unet`, where that is all there is."""
    inner = values.get(_NAME)
    return cast(Values, inner) if _is_mapping(inner) and len(values) == 1 else values


def _is_mapping(document: Any) -> bool:
    return isinstance(document, dict) and all(isinstance(key, str) for key in cast(dict[Any, Any], document))


def _as_mapping(document: Any, path: Path) -> Values:
    if document is None:
        return {}
    if not _is_mapping(document):
        kind = type(document).__name__
        raise ConfigError(f"{path}: a document is a {kind}; expected keys with values, help or choices")
    return cast(Values, document)


def _python_dict(text: str, path: Path) -> Values | None:
    """Return the dict that a Python text assigns to `cfg_unet`, or None where it is no Python or does not do so."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes in its strings
            assigned = dict(_assignments(ast.parse(text)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    node = assigned.get(_NAME)
    for _ in assigned:
        node = assigned.get(node.id) if isinstance(node, ast.Name) else node
    if node is None:
        return None
    try:
        values = ast.literal_eval(_plain(node))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        values = None
    if not _is_mapping(values):
        raise ConfigError(f"{path}: {_NAME} is no dict of plain values; write numbers, texts and lists, none computed")
    return values


def _assignments(module: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for statement in module.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        if isinstance(value, ast.expr):
            yield from ((target.id, value) for target in targets if isinstance(target, ast.Name))


def _plain(node: ast.expr) -> ast.expr:
    """Return the dict inside `ed({...})`, or that of `dict(key=value)`."""
    if not isinstance(node, ast.Call):
        return node
    if len(node.args) == 1 and not node.keywords:
        return node.args[0]
    names = [ast.Constant(keyword.arg) for keyword in node.keywords]
    return ast.Dict(keys=[*names], values=[keyword.value for keyword in node.keywords])
