"""Asks a service that has the models of tests/api/oip.rs as clients of MLServer do: with its types and codecs over HTTP,
with its converters over gRPC, and with `mlserver infer`, which sends many requests as one."""

import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

try:
    from mlserver import types
except ImportError as error:
    # It is not made for every Python.
    print(f"SKIPPED: MLServer's client: {error}")
    sys.exit()

import grpc
import numpy as np
import pandas as pd
from mlserver.codecs import Base64Codec, NumpyCodec, NumpyRequestCodec, PandasCodec, StringCodec
from mlserver.grpc import converters
from mlserver.grpc import dataplane_pb2 as messages
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from picture import png

HOST, GRPC_HOST = sys.argv[1:]


def ask(path, body=None):
    data = body if body is None else body.encode()
    request = urllib.request.Request(f"http://{HOST}{path}", data, {"content-type": "application/json"})
    return urllib.request.urlopen(request)


def over_http(model, request):
    answer = ask(f"/v2/models/{model}/versions/1/infer", request.model_dump_json())
    assert answer.headers["x-perennial-version"] == "1"
    return types.InferenceResponse.model_validate_json(answer.read())


def over_grpc(use_raw):
    def infer(model, request):
        message = converters.ModelInferRequestConverter.from_types(request, model, "1", use_raw)
        answer, call = STUB.ModelInfer.with_call(message)
        assert ("x-perennial-version", "1") in call.initial_metadata()
        assert bool(answer.raw_output_contents) == use_raw
        return converters.ModelInferResponseConverter.to_types(answer)

    return infer


STUB = GRPCInferenceServiceStub(grpc.insecure_channel(GRPC_HOST))


def check(response, model, inputs):
    """What the service's own `predict` says, too."""
    body = json.dumps({"inputs": inputs, "top_k": 99})
    expected = json.load(ask(f"/v1/models/{model}/predict", body))["predictions"]
    assert (response.model_name, response.model_version, response.id) == (model, "1", "7"), response
    said = {output.name: output for output in response.outputs}
    rows = NumpyCodec.decode_output(said["probabilities"])
    labels = StringCodec.decode_output(said["label"])
    assert labels == [p["label"] for p in expected] and rows.shape == (len(inputs), len(expected[0]["top"]))
    for row, p in zip(rows, expected):
        assert np.allclose(sorted(row), sorted(one["probability"] for one in p["top"]), atol=1e-5)


ROWS = np.arange(16).reshape(2, 8)
TEXTS = ["a late goal", "shares of the bank, übermäßig"]
TABLE = pd.DataFrame({"x": [7, 8, 9], "city": pd.Series(["Ulm", "Kiel", "Oslo"], dtype=object)})
PIXELS = np.random.default_rng(1).integers(0, 255, (8, 8, 3), dtype=np.uint8)


def ask_everything(infer, use_bytes):
    def of(*inputs):
        return types.InferenceRequest(id="7", inputs=list(inputs))

    for dtype in [np.float32, np.float64, np.int64, np.uint8]:
        request = NumpyRequestCodec.encode_request(ROWS.astype(dtype))
        request.id = "7"
        check(infer("vectors", request), "vectors", ROWS.tolist())
    texts = StringCodec.encode_input("text", TEXTS, use_bytes=use_bytes)
    check(infer("texts", of(texts)), "texts", TEXTS)
    table = PandasCodec.encode_request(TABLE, use_bytes=use_bytes)
    table.id = "7"
    check(infer("rows", table), "rows", TABLE.to_dict("records"))
    file = Base64Codec.encode_input("image", [png(PIXELS)], use_bytes=use_bytes)
    check(infer("images", of(file)), "images", [PIXELS.tolist()])
    check(infer("images", of(NumpyCodec.encode_input("image", PIXELS[None]))), "images", [PIXELS.tolist()])


def describe():
    """What the service tells of itself has the form of MLServer's types, over HTTP and gRPC the same."""
    server = types.MetadataServerResponse.model_validate_json(ask("/v2").read())
    said = STUB.ServerMetadata(messages.ServerMetadataRequest())
    assert converters.ServerMetadataResponseConverter.to_types(said) == server
    for model in ["images", "rows", "texts", "vectors"]:
        metadata = types.MetadataModelResponse.model_validate_json(ask(f"/v2/models/{model}").read())
        said = STUB.ModelMetadata(messages.ModelMetadataRequest(name=model))
        assert converters.ModelMetadataResponseConverter.to_types(said).model_dump() == metadata.model_dump()
        assert STUB.ModelReady(messages.ModelReadyRequest(name=model)).ready
    wanted = types.RepositoryIndexRequest(ready=True).model_dump_json()
    index = types.RepositoryIndexResponse.model_validate_json(ask("/v2/repository/index", wanted).read())
    assert [item.name for item in index.root] == ["images", "rows", "texts", "vectors"]
    assert {types.State(item.state) for item in index.root} == {types.State.READY}


def be_refused():
    short = types.InferenceRequest(inputs=[NumpyCodec.encode_input("input", ROWS[:, :7])])
    words = "the model takes a tensor of shape [n, 8]"
    try:
        over_http("vectors", short)
        raise AssertionError("not refused")
    except urllib.error.HTTPError as error:
        refusal = types.InferenceErrorResponse.model_validate_json(error.read())
        assert error.code == 400 and words in refusal.error, refusal
    try:
        over_grpc(False)("vectors", short)
        raise AssertionError("not refused")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and words in error.details(), error


def infer_many(*flags):
    """`mlserver infer` sends two lines as one request, and takes its answer apart."""
    inputs = [ROWS, ROWS[:1], ROWS[1:], ROWS + 1, ROWS[:1] + 2]
    with tempfile.TemporaryDirectory() as directory:
        asked, answered = Path(directory) / "asked", Path(directory) / "answered"
        requests = [NumpyRequestCodec.encode_request(rows.astype(np.float32)) for rows in inputs]
        asked.write_text("".join(request.model_dump_json() + "\n" for request in requests))
        command = [Path(sys.executable).with_name("mlserver"), "infer", "-u", HOST, "-m", "vectors"]
        command += ["-i", asked, "-o", answered, "-w", "2", "-s", "2", *flags]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [types.InferenceResponse.model_validate_json(line) for line in answered.read_text().splitlines()]
    lines.sort(key=lambda response: response.parameters.batch_index)
    assert len(lines) == len(inputs)
    for response, rows in zip(lines, inputs):
        response.id = "7"
        check(response, "vectors", rows.tolist())


ask_everything(over_http, use_bytes=False)
ask_everything(over_grpc(use_raw=False), use_bytes=True)
ask_everything(over_grpc(use_raw=True), use_bytes=True)
describe()
be_refused()
infer_many()
infer_many("--binary-data")
