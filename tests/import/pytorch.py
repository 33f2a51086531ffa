"""Writes networks as PyTorch has them, and what they answer, for tests/api/imports.rs.

    pip install torch numpy safetensors
    python tests/import/pytorch.py
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent
LABELS = ["cat", "dog", "owl"]


def write(name, network, inputs, mean, deviation, shape, layers=None):
    """Saves the network, and the probabilities of inputs of whole numbers of 0 to 255."""
    manifest = {"labels": LABELS, "mean": mean, "deviation": deviation}
    if layers:
        manifest["layers"] = layers
    save_file(network.state_dict(), HERE / f"{name}.safetensors", metadata={"manifest": json.dumps(manifest)})
    normal = (inputs - torch.tensor(mean).view(shape)) / torch.tensor(deviation).view(shape)
    with torch.no_grad():
        probabilities = network(normal).softmax(1)
    # Images as the service takes them: rows of pixels with their channels side by side.
    ours = inputs.permute(0, 2, 3, 1) if inputs.dim() == 4 else inputs
    answers = {
        "inputs": ours.flatten(1).int().tolist(),
        "probabilities": [[round(p, 7) for p in row] for row in probabilities.tolist()],
    }
    (HERE / f"{name}.json").write_text(json.dumps(answers, separators=(",", ":")) + "\n")


def convolution(n_in, n_out):
    return nn.Conv2d(n_in, n_out, 3, padding=1, padding_mode="replicate")


class Viewer(nn.Module):
    """Two stages of convolutions and a hidden layer."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = convolution(3, 4), nn.GroupNorm(1, 4)
        self.conv2, self.norm2 = convolution(4, 16), nn.GroupNorm(2, 16)
        self.hidden, self.head = nn.Linear(16 * 3 * 2, 10), nn.Linear(10, 3)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        x = self.pool(torch.relu(self.norm1(self.conv1(x))))
        x = self.pool(torch.relu(self.norm2(self.conv2(x))))
        return self.head(torch.relu(self.hidden(x.flatten(1))))


def main():
    torch.manual_seed(1)
    viewer = Viewer()
    for norm in (viewer.norm1, viewer.norm2):
        nn.init.normal_(norm.weight, 1, 0.3)
        nn.init.normal_(norm.bias, 0, 0.3)
    # Probabilities that differ.
    nn.init.normal_(viewer.head.weight, 0, 1.5)
    # 9 rows of 13 pixels: what does not fill a pool is left out.
    images = torch.randint(0, 256, (6, 3, 9, 13)).float()
    layers = ["conv1", "norm1", "conv2", "norm2", "hidden", "head"]
    write("viewer", viewer, images, [120.0, 128.0, 90.0], [70.0, 8.0, 64.0], (1, 3, 1, 1), layers)
    rows = torch.randint(0, 256, (6, 5)).float()
    reader = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
    nn.init.normal_(reader[4].weight, 0, 1.5)
    write("reader", reader, rows, [100.0, 128.0, 90.0, 20.0, 30.0], [70.0, 2.0, 64.0, 80.0, 75.0], (1, 5))
    # Images that dense layers read: 8 rows of 9 pixels, flattened channel by channel.
    images = torch.randint(0, 256, (6, 3, 8, 9)).float()
    glancer = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 9, 6), nn.ReLU(), nn.Linear(6, 3))
    nn.init.normal_(glancer[3].weight, 0, 0.5)
    write("glancer", glancer, images, [120.0, 128.0, 90.0], [70.0, 8.0, 64.0], (1, 3, 1, 1))


main()
