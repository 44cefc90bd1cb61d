"""How fast networks are on this machine: side by side, in turns, each in a process of its own."""

from unetkit.timing.rounds import Contender, Timing, time_contenders
from unetkit.timing.showing import as_json, picture, table

__all__ = ["Contender", "Timing", "as_json", "picture", "table", "time_contenders"]
