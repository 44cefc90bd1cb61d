"""The network behind a MindIR or AIR file that unetkit wrote: its card and its weights, by our names.

Such a file computes for one size only; with its weights the network can be trained on, or run at any size. A file of a
UNet++ has what its head needs: with the last head that is all but the others.
"""

import json
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ValidationError
from torch import Tensor

from unetkit.checkpoints import Card, Checkpoint
from unetkit.config import ModelConfig
from unetkit.errors import ModelFileError
from unetkit.interop.graphs import CARD, Graph, read_graph
from unetkit.interop.outgoing import mindspore_names
from unetkit.models import build_model

_COUNTER = "num_batches_tracked"


def read_own_graph(path: Path) -> Checkpoint | None:
    """Read a graph with unetkit's card as a checkpoint without training state; None for any other file.

    Raises:
        ModelFileError: damaged, or without a part of the network.
    """
    graph = read_graph(path)
    if graph is None or CARD not in graph.notes:
        return None
    try:
        said = cast("dict[str, Any]", json.loads(graph.notes[CARD]))
        known = {key: value for key, value in said.items() if key in Card.model_fields}
        card = Card.model_validate_json(json.dumps({**known, "step": 0, "train_seconds": 0.0}))
    except (ValueError, TypeError, AttributeError, ValidationError):
        raise ModelFileError(f"{path}: its card describes no network; give the run that it was made from") from None
    state, missing = _weights(graph, card.model)
    if missing and all(name.startswith("heads.") for name in missing):
        card = card.model_copy(
            update={"model": card.model.model_copy(update={"deep_supervision": False, "head": None})}
        )
        state, missing = _weights(graph, card.model)
    if missing:
        raise ModelFileError(
            f"{path}: holds a part of the network, without {missing[0]} and {len(missing) - 1} more; "
            "give the run that it was made from"
        )
    return Checkpoint(card=card, tensors=state)


def _weights(graph: Graph, model: ModelConfig) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights of a network by our names, and the names of those that the graph lacks."""
    with torch.device("meta"):
        shapes = build_model(model.model_copy(update={"init": "torch"})).state_dict()
    names = {ours: f"net.{theirs}" for ours, theirs in mindspore_names(model).items()}
    state, missing = dict[str, Tensor](), list[str]()
    for ours, shape in shapes.items():
        weight = graph.weights.get(names.get(ours, ours))
        if ours.endswith(_COUNTER):
            state[ours] = torch.zeros((), dtype=torch.int64)
        elif weight is None or weight.shape != shape.shape:
            missing.append(ours)
        else:
            state[ours] = weight
    return state, missing
