"""Evaluation: scores of networks on labelled images, whoever predicted, and what follows from them."""
