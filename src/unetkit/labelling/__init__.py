"""Labelling: images without masks, a page to paint on, and a network that is trained meanwhile."""

from unetkit.labelling.label import label, repeat_newest

__all__ = ["label", "repeat_newest"]
