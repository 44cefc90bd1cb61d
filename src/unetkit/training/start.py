"""Where the weights start: at random, or from a network that was trained before."""

from fnmatch import fnmatchcase

import torch

from unetkit.config import InitConfig
from unetkit.errors import ConfigError
from unetkit.interop import AdamMoments
from unetkit.networks import read_network
from unetkit.training.optim import require_match
from unetkit.training.session import Session


def start_from(session: Session, config: InitConfig) -> tuple[str, ...]:
    """Give the session's network the weights of a stored one, all but the excluded; return what was done, a line each.

    Where the session trains with Adam or AdamW and nothing is excluded, a founding system's moments are taken over,
    unless `init.moments` is false.

    Raises:
        ModelFileError: no network is there.
        ConfigError: a pattern matches nothing, or weights that are not excluded do not fit.
    """
    if config.path is None:
        return ()
    stored = read_network(config.path)
    state = session.model.state_dict()
    for pattern in config.exclude:
        require_match(pattern, list(state), "init.exclude")
    wanted = {name for name in state if not any(fnmatchcase(name, pattern) for pattern in config.exclude)}
    for name in sorted(wanted):
        found = "none" if name not in stored.state else tuple(stored.state[name].shape)
        if found != tuple(state[name].shape):
            raise ConfigError(
                f"init: {config.path} has {found} for {name}, this network has {tuple(state[name].shape)}; "
                f"set the same network, or init.exclude=['{name.split('.')[0]}.*'] to start that part at random"
            )
    session.set_weights(state | {name: stored.state[name] for name in wanted})
    notes = [*stored.notes, f"{len(wanted)} of {len(state)} tensors start from {config.path}"]
    wanted_moments = config.moments and not config.exclude
    if stored.moments is not None and wanted_moments and session.config.optimizer.name in ("adam", "adamw"):
        session.set_moments(_by_place(session, stored.moments))
        notes.append(f"Adam goes on from its moments at step {stored.moments.step}")
    return tuple(notes)


def _by_place(session: Session, moments: AdamMoments) -> dict[str, torch.Tensor]:
    """Return the moments by the names under which a checkpoint keeps them."""
    names = {id(weight): name for name, weight in session.model.named_parameters()}
    weights = [weight for group in session.optimizers[0].param_groups for weight in group["params"]]
    placed: dict[str, torch.Tensor] = {}
    for index, weight in enumerate(weights):
        name = names[id(weight)]
        placed |= {
            f"0.{index}.step": torch.tensor(float(moments.step)),
            f"0.{index}.exp_avg": moments.first[name],
            f"0.{index}.exp_avg_sq": moments.second[name],
        }
    return placed
