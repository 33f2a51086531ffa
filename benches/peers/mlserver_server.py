"""The same network behind MLServer, which speaks the Open Inference Protocol, for `make bench-peers`.

    pip install torch mlserver
    python benches/peers/mlserver_server.py 127.0.0.1 9000
"""

import asyncio
import socket
import sys

import torch
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse
from network import best, network


class Network(MLModel):
    async def load(self):
        self.network = network()
        return True

    async def predict(self, payload):
        rows = NumpyCodec.decode_input(payload.inputs[0])
        said = best(self.network, torch.from_numpy(rows))
        outputs = [
            NumpyCodec.encode_output("label", said.indices.numpy()),
            NumpyCodec.encode_output("probability", said.values.numpy()),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


async def serve(host, port):
    # In its own process, as the others are, and without what nobody asks here.
    settings = Settings(
        host=host, http_port=port, grpc_port=free_port(), metrics_port=free_port(), parallel_workers=0, debug=False
    )
    await MLServer(settings).start([ModelSettings(name="m", implementation=Network)])


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
