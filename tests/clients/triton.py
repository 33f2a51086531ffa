"""Asks a service that has the models of tests/api/oip.rs with Triton's own HTTP client."""

import json
import struct
import sys
import urllib.request
import zlib

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

HOST = sys.argv[1]
client = InferenceServerClient(HOST)


def tensor(name, array, datatype, binary=True):
    made = InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def texts(*values):
    return np.array(values, dtype=np.object_)


def predict(model, inputs):
    """What the service's own `predict` says: label and probabilities by label, of each input."""
    body = json.dumps({"inputs": inputs, "top_k": 99}).encode()
    url = f"http://{HOST}/v1/models/{model}/predict"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    predictions = json.load(urllib.request.urlopen(request))["predictions"]
    return [(p["label"], {s["label"]: s["probability"] for s in p["top"]}) for p in predictions]


def check(result, model, inputs):
    labels = result.as_numpy("label")
    probabilities = result.as_numpy("probabilities")
    expected = predict(model, inputs)
    assert labels.shape == (len(inputs),) and probabilities.dtype == np.float32
    assert probabilities.shape == (len(inputs), len(expected[0][1]))
    for label, row, (expected_label, by_label) in zip(labels, probabilities, expected):
        label = label.decode() if isinstance(label, bytes) else label
        assert label == expected_label, (label, expected_label)
        assert np.allclose(sorted(row), sorted(by_label.values()), atol=1e-6)
        assert abs(row.max() - by_label[label]) < 1e-6


def outputs(binary):
    names = ["probabilities", "label"]
    return [InferRequestedOutput(name, binary_data=binary) for name in names]


def refused(ask, status, words):
    try:
        ask()
    except InferenceServerException as error:
        assert error.status() == str(status), error
        assert words in error.message(), error
        return
    raise AssertionError(f"not refused: {words}")


def png(pixels):
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(
        ">I", zlib.crc32(kind + data)
    )
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


# The service and its models.
assert client.is_server_live() and client.is_server_ready()
assert client.is_model_ready("vectors") and client.is_model_ready("vectors", "1")
assert not client.is_model_ready("vectors", "9") and not client.is_model_ready("none")
server = client.get_server_metadata()
assert server["name"] == "perennial" and "binary_tensor_data" in server["extensions"]
metadata = client.get_model_metadata("images")
assert metadata["versions"] == ["1"] and metadata["inputs"][0]["shape"] == [-1, 8, 8, 3]
index = client.get_model_repository_index()
assert [model["name"] for model in index] == ["images", "rows", "texts", "vectors"]
assert all(model["state"] == "READY" for model in index)

# Numbers of every type, as bytes and as JSON, both ways.
rows = np.arange(16).reshape(2, 8)
for datatype, type_ in [
    ("FP32", np.float32), ("FP64", np.float64), ("FP16", np.float16), ("UINT8", np.uint8),
    ("INT16", np.int16), ("INT32", np.int32), ("INT64", np.int64), ("UINT64", np.uint64),
]:
    for binary in [True] if datatype == "FP16" else [True, False]:
        given = [tensor("input", rows.astype(type_), datatype, binary)]
        for wanted in [None, outputs(True), outputs(False)]:
            result = client.infer("vectors", given, outputs=wanted, request_id="7")
            check(result, "vectors", rows.tolist())
            response = result.get_response()
            assert (response["model_version"], response["id"]) == ("1", "7")
bools = rows % 3 == 0
check(client.infer("vectors", [tensor("input", bools, "BOOL")]), "vectors", (bools * 1).tolist())
given = [tensor("input", rows.astype(np.float32), "FP32")]
check(client.infer("vectors", given, model_version="1"), "vectors", rows.tolist())
packed = client.infer("vectors", given, request_compression_algorithm="gzip")
check(packed, "vectors", rows.tolist())

# Texts, columns, images.
words = ["a late goal", "shares of the bank, übermäßig"]
for array in [texts(*words), texts(*words).reshape(2, 1)]:
    for binary in [True, False]:
        check(client.infer("texts", [tensor("text", array, "BYTES", binary)]), "texts", words)
for binary in [True, False]:
    given = [
        tensor("city", texts("Ulm", "Kiel"), "BYTES", binary),
        tensor("x", np.array([[7], [8]], dtype=np.int64), "INT64", binary),
    ]
    check(client.infer("rows", given), "rows", [{"x": 7, "city": "Ulm"}, {"x": 8, "city": "Kiel"}])
image = np.random.default_rng(1).integers(0, 255, (8, 8, 3), dtype=np.uint8)
pixels = [image.tolist()]
check(client.infer("images", [tensor("image", image[None], "UINT8")]), "images", pixels)
file = np.array([png(image)], dtype=np.object_)
check(client.infer("images", [tensor("image", file, "BYTES")]), "images", pixels)

# Classification, by bytes and by JSON.
for binary in [True, False]:
    wanted = [InferRequestedOutput("probabilities", binary_data=binary, class_count=2)]
    given = [tensor("input", rows.astype(np.float32), "FP32")]
    classes = client.infer("vectors", given, outputs=wanted).as_numpy("probabilities")
    assert classes.shape == (2, 2)
    for row, (label, by_label) in zip(classes, predict("vectors", rows.tolist())):
        value, _, name = (row[0].decode() if binary else row[0]).split(":")
        assert name == label and abs(float(value) - by_label[label]) < 1e-6

# Refusals, and what was counted.
short = [tensor("input", np.zeros((1, 7), dtype=np.float32), "FP32")]
refused(lambda: client.infer("vectors", short), 400, "the model takes a tensor of shape [n, 8]")
refused(lambda: client.infer("none", short), 404, "there is no model none")
refused(lambda: client.get_model_metadata("vectors", "9"), 404, "there is no version 9")
nothing = [InferRequestedOutput("nothing")]
refused(lambda: client.infer("vectors", short, outputs=nothing), 400, "unknown variant `nothing`")
stats = client.get_inference_statistics("vectors", "1")["model_stats"][0]
assert stats["inference_count"] > 80 and stats["inference_stats"]["success"]["ns"] > 0
assert stats["inference_stats"]["fail"]["count"] == 2
assert len(client.get_inference_statistics()["model_stats"]) == 4
