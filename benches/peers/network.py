"""The network that the peers answer with: 784-256-256-10, on one thread."""

import torch
from torch import nn


def network():
    torch.set_num_threads(1)
    return nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10), nn.Softmax(1)
    ).eval()


def best(network, rows):
    """The most probable label of each row, and its probability."""
    with torch.inference_mode():
        return network(rows).max(1)
