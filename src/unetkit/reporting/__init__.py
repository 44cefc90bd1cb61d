"""Reporting: what a run did and how well it did it, as pages, pictures and tables."""
