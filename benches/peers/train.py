"""How many samples a second PyTorch trains on, with the networks of benches/training.rs.

    pip install torch numpy
    python benches/peers/train.py [threads]     # or `make bench-train`, for both
"""

import sys
import time

import torch
from torch import nn


def stage(n_in, n_out):
    return [
        nn.Conv2d(n_in, n_out, 3, padding=1, padding_mode="replicate"),
        nn.GroupNorm(n_out // 8, n_out),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]


NETWORKS = {
    "mlp 784-256-256": lambda: nn.Sequential(
        nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    ),
    "cnn 16-32-128": lambda: nn.Sequential(
        *stage(1, 16), *stage(16, 32), nn.Flatten(), nn.Linear(1568, 128), nn.ReLU(), nn.Linear(128, 10)
    ),
}


def rate(network, minibatch, seconds=6.0):
    """Samples a second, of steps with Adam and a clipped gradient."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    images = torch.rand(8192, 1, 28, 28)
    labels = torch.randint(0, 10, (8192,))

    def step(begin):
        loss = nn.functional.cross_entropy(
            network(images[begin : begin + minibatch]), labels[begin : begin + minibatch]
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()

    begins = [begin for begin in range(0, 8192 - minibatch, minibatch)]
    for begin in begins[:10]:
        step(begin)
    n, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        step(begins[n % len(begins)])
        n += 1
    return n * minibatch / (time.perf_counter() - began)


def main():
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    for name, make in NETWORKS.items():
        for minibatch in (64, 128):
            torch.manual_seed(1)
            print(f"{name}, minibatch {minibatch}: {rate(make(), minibatch):.0f} samples/s")


main()
