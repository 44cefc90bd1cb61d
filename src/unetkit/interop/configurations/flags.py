"""The founding systems' command lines: `--key value`, `--key=value`, and the beginning of a key where only one fits.

All of them read their flags by Python's argparse; this is what of its grammar they rely on. Values stay texts, except
those of switches, which are true by being there.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from unetkit.errors import ConfigError
from unetkit.interop.configurations.settings import near, shown

_NEGATIVE = re.compile(r"-\d|-\.\d")


def parse_flags(
    words: Sequence[str], known: Iterable[str], *, name: str, switches: Mapping[str, tuple[str, str]] | None = None
) -> dict[str, str]:
    """Return the values of flags by their full names; the last of several counts.

    Args:
        words: what stands after `--`.
        known: flags that take a value, without dashes.
        name: whose flags they are, for messages.
        switches: flags without a value: the flag that each sets, and to what.

    Raises:
        ConfigError: a flag that is not known or could be several, a value that is missing or belongs to no flag.
    """
    found: dict[str, str] = {}
    switches = switches or {}
    names = [*known, *switches]
    rest = iter(words)
    for word in rest:
        if not word.startswith("--") or word == "--":
            raise ConfigError(f"{name}: {shown(word)} belongs to no flag; write --key value, or key=value before --")
        begun, equals, value = word[2:].partition("=")
        flag = _full(begun, names, name)
        if flag in switches:
            if equals:
                raise ConfigError(f"{name}: --{flag} takes no value; found {shown(value)}")
            target, value = switches[flag]
        else:
            target, value = flag, value if equals else _next(rest, flag, name)
        found[target] = value
    return found


def _full(begun: str, names: Sequence[str], name: str) -> str:
    if begun in names:
        return begun
    fitting = sorted(flag for flag in names if flag.startswith(begun)) if begun else []
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise ConfigError(f"{name}: --{shown(begun)} could be {', '.join(f'--{flag}' for flag in fitting)}; write one")
    raise ConfigError(f"{name}: unknown flag --{shown(begun)}{near(begun, dict.fromkeys(names))}")


def _next(rest: Iterable[str], flag: str, name: str) -> str:
    value = next(iter(rest), None)
    if value is None or (value.startswith("-") and not _NEGATIVE.match(value)):
        raise ConfigError(f"{name}: --{flag} needs a value; found {'nothing' if value is None else shown(value)}")
    return value
