"""A network behind an HTTP server as others write it, for `make bench-peers`.

    pip install torch fastapi uvicorn
    python benches/peers/serve.py fastapi 127.0.0.1:9000
"""

import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from torch import nn


class Question(BaseModel):
    inputs: list[list[float]]


def fastapi():
    torch.set_num_threads(1)
    network = nn.Sequential(
        nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10), nn.Softmax(1)
    ).eval()
    app = FastAPI()

    @app.post("/predict")
    async def predict(question: Question):
        with torch.inference_mode():
            probabilities = network(torch.tensor(question.inputs))
        best = probabilities.max(1)
        pairs = zip(best.indices.tolist(), best.values.tolist())
        return {"predictions": [{"label": str(label), "probability": share} for label, share in pairs]}

    return app


if __name__ == "__main__":
    peer, address = sys.argv[1:]
    host, port = address.rsplit(":", 1)
    uvicorn.run({"fastapi": fastapi}[peer](), host=host, port=int(port), log_level="error")
