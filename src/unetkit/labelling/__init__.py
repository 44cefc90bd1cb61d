"""Labelling: images without masks, a page to paint on, and a network that is trained meanwhile."""
