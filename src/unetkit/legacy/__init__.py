"""The four older systems: their checkpoints, graphs and configurations."""
