"""A network behind an HTTP server as others write it, for `make bench-peers`.

    pip install torch fastapi uvicorn
    python benches/peers/fastapi_server.py 127.0.0.1 9000
"""

import sys

import torch
import uvicorn
from fastapi import FastAPI
from network import best, network
from pydantic import BaseModel

NETWORK = network()
app = FastAPI()


class Question(BaseModel):
    inputs: list[list[float]]


@app.post("/predict")
async def predict(question: Question):
    said = best(NETWORK, torch.tensor(question.inputs))
    pairs = zip(said.indices.tolist(), said.values.tolist())
    return {"predictions": [{"label": str(label), "probability": share} for label, share in pairs]}


if __name__ == "__main__":
    host, port = sys.argv[1:]
    uvicorn.run(app, host=host, port=int(port), log_level="error")
