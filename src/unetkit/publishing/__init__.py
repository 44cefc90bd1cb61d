"""A finished training for other people: as a research object that can be reproduced, or as a model on a hub.

facts.py      what is known of a run: its network, its scores with their meanings, its data, its authors
readme.py     the same as a model card: README.md with its front matter
crate.py      pack: a run as a Process Run Crate, one .zip
reproduce.py  reproduce: train again by such a .zip, and say whether the result is the same
hub.py        pack: a folder for a model hub; push_to_hub, from_pretrained
"""
