"""napari-unetkit: train on open layers and predict, by unetkit's public functions alone.

reader.py     a run folder as layers: held-out images, their truth, what the network says of them
layers.py     layers as a data set on the disk, and as images for a network; knows no Qt
panel.py      the panel: train, predict, preview, cancel
"""
