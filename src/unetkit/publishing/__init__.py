"""A finished training for other people: as a research object that can be reproduced, or as a model on a hub.

facts.py      what is known of a run: its network, its scores with their meanings, its data, its authors; its model card
pack.py       pack: a run as a Process Run Crate, one .zip, or as the folder of a hub's model
reproduce.py  reproduce: train again by such a .zip, and say whether the result is the same
hub.py        the folder for a model hub; push_to_hub, from_pretrained
"""
