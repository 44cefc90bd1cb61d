"""State dictionaries as PyTorch and OneFlow build them: a network's alone, or beside an optimizer's.

An optimizer numbers its parameters in the order of the network's, and keeps for each number `exp_avg`, `exp_avg_sq`
and, in PyTorch, its own `step`. OneFlow keeps one `step` for all.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor

from unetkit.interop.archive import MOST_TENSORS, Archive, whole_number

Resolve = Callable[[Any], Tensor | None]
"""Gives the tensor that a value is or stands for, or None."""

_NETWORKS = ("net", "model", "state_dict", "model_state_dict", "network")
_OPTIMIZERS = ("opt", "optimizer", "optimizer_state_dict")
_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def archive_of_state(system: str, content: Any, resolve: Resolve) -> Archive | None:
    """Return what a saved state holds, or None where no network is in it.

    Args:
        system: who wrote it, for messages.
        content: the unpickled value.
        resolve: gives the tensor of a value.
    """
    top = _mapping(content)
    states = (top, *(_mapping(top.get(key)) for key in _NETWORKS))
    network = next((state for state in states if len(state) <= MOST_TENSORS and _named(state, resolve)), None)
    if network is None:
        return None
    tensors = _named(network, resolve)
    optimizer = _mapping(next((top[key] for key in _OPTIMIZERS if key in top), None))
    first, second, step = _adam(optimizer, [name for name in tensors if not name.endswith(_BUFFERS)], resolve)
    left_out = [str(name) for name in network if name not in tensors]
    if network is not top:
        left_out += [str(name) for name in top if name not in (*_NETWORKS, *_OPTIMIZERS)]
    return Archive(system, tensors, first, second, step, tuple(left_out))


def _named(state: Mapping[Any, Any], resolve: Resolve) -> dict[str, Tensor]:
    found = ((name, resolve(value)) for name, value in state.items() if isinstance(name, str))
    return {name: tensor for name, tensor in found if tensor is not None}


def _adam(
    optimizer: Mapping[Any, Any], names: list[str], resolve: Resolve
) -> tuple[dict[str, Tensor], dict[str, Tensor], int | None]:
    """Return both moments by the name of the parameter, and the step."""
    state, groups = _mapping(optimizer.get("state")), optimizer.get("param_groups")
    groups = cast("list[Any]", groups) if isinstance(groups, list) else []
    keys = [key for group in groups for key in _list(_mapping(group).get("params"))]
    if len(keys) != len(names):
        return {}, {}, None
    slots = {name: _mapping(state.get(key)) for key, name in zip(keys, names, strict=True) if isinstance(key, int)}
    first = {name: tensor for name, slot in slots.items() if (tensor := resolve(slot.get("exp_avg"))) is not None}
    second = {name: tensor for name, slot in slots.items() if (tensor := resolve(slot.get("exp_avg_sq"))) is not None}
    steps = (state.get("step"), *(slot.get("step") for slot in slots.values()))
    return first, second, next((number for step in steps if (number := _step(step, resolve)) is not None), None)


def _step(step: Any, resolve: Resolve) -> int | None:
    return step if isinstance(step, int) else whole_number(resolve(step))


def _mapping(value: Any) -> Mapping[Any, Any]:
    return cast("Mapping[Any, Any]", value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
