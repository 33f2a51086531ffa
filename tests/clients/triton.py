"""Asks a service that has the models of tests/api/oip.rs with Triton's own clients, of HTTP and of gRPC."""

import json
import queue
import sys
import urllib.request
from pathlib import Path

import numpy as np
import tritonclient.grpc
import tritonclient.http
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from picture import png
from tritonclient.utils import InferenceServerException

HOST, GRPC_HOST = sys.argv[1:]


class Http:
    """How the client of HTTP is used. Tensors come and go as bytes or as JSON."""

    library = tritonclient.http
    client = tritonclient.http.InferenceServerClient(HOST)
    binary = [True, False]
    refusals = {"invalid": "400", "absent": "404"}
    packing = "request_compression_algorithm"

    @staticmethod
    def dictionary(said):
        return said

    @staticmethod
    def listed(index):
        return index

    @staticmethod
    def head(response):
        return response["model_version"], response["id"]

    @classmethod
    def tensor(cls, name, array, datatype, binary=True):
        made = cls.library.InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array, binary_data=binary)
        return made

    @classmethod
    def output(cls, name, binary, **more):
        return cls.library.InferRequestedOutput(name, binary_data=binary, **more)


class Grpc:
    """How the client of gRPC is used. Tensors come and go as bytes."""

    library = tritonclient.grpc
    client = tritonclient.grpc.InferenceServerClient(GRPC_HOST)
    binary = [True]
    refusals = {"invalid": "StatusCode.INVALID_ARGUMENT", "absent": "StatusCode.NOT_FOUND"}
    packing = "compression_algorithm"

    @staticmethod
    def dictionary(said):
        from google.protobuf.json_format import MessageToDict

        return MessageToDict(said, preserving_proto_field_name=True)

    @staticmethod
    def listed(index):
        return index["models"]

    @staticmethod
    def head(response):
        return response.model_version, response.id

    @classmethod
    def tensor(cls, name, array, datatype, binary=True):
        made = cls.library.InferInput(name, list(array.shape), datatype)
        made.set_data_from_numpy(array)
        return made

    @classmethod
    def output(cls, name, binary, **more):
        return cls.library.InferRequestedOutput(name, **more)


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


def refused(ask, status, words):
    try:
        ask()
    except InferenceServerException as error:
        assert error.status() == status, error
        assert words in error.message(), error
        return
    raise AssertionError(f"not refused: {words}")


ROWS = np.arange(16).reshape(2, 8)


def ask_everything(wire):
    client, tensor = wire.client, wire.tensor

    # The service and its models.
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("vectors") and client.is_model_ready("vectors", "1")
    assert not client.is_model_ready("vectors", "9") and not client.is_model_ready("none")
    server = wire.dictionary(client.get_server_metadata())
    assert server["name"] == "perennial" and "binary_tensor_data" in server["extensions"]
    metadata = wire.dictionary(client.get_model_metadata("images"))
    assert metadata["versions"] == ["1"]
    assert [int(side) for side in metadata["inputs"][0]["shape"]] == [-1, 8, 8, 3]
    index = wire.listed(wire.dictionary(client.get_model_repository_index()))
    assert [model["name"] for model in index] == ["images", "rows", "texts", "vectors"]
    assert all(model["state"] == "READY" for model in index)
    stats = lambda: wire.dictionary(client.get_inference_statistics("vectors", "1"))["model_stats"][0]
    failed = lambda: int(stats()["inference_stats"]["fail"].get("count", 0))
    failed_before = failed()

    # Numbers of every type, both ways.
    outputs = lambda binary: [wire.output(name, binary) for name in ["probabilities", "label"]]
    for datatype, type_ in [
        ("FP32", np.float32), ("FP64", np.float64), ("FP16", np.float16), ("UINT8", np.uint8),
        ("INT16", np.int16), ("INT32", np.int32), ("INT64", np.int64), ("UINT64", np.uint64),
    ]:
        for binary in [True] if datatype == "FP16" else wire.binary:
            given = [tensor("input", ROWS.astype(type_), datatype, binary)]
            for wanted in [None, *map(outputs, wire.binary)]:
                result = client.infer("vectors", given, outputs=wanted, request_id="7")
                check(result, "vectors", ROWS.tolist())
                assert wire.head(result.get_response()) == ("1", "7")
    bools = ROWS % 3 == 0
    check(client.infer("vectors", [tensor("input", bools, "BOOL")]), "vectors", (bools * 1).tolist())
    given = [tensor("input", ROWS.astype(np.float32), "FP32")]
    check(client.infer("vectors", given, model_version="1"), "vectors", ROWS.tolist())
    for how in ["gzip", "deflate"]:
        check(client.infer("vectors", given, **{wire.packing: how}), "vectors", ROWS.tolist())

    # Texts, columns, images.
    words = ["a late goal", "shares of the bank, übermäßig"]
    for array in [texts(*words), texts(*words).reshape(2, 1)]:
        for binary in wire.binary:
            check(client.infer("texts", [tensor("text", array, "BYTES", binary)]), "texts", words)
    for binary in wire.binary:
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

    # Classification.
    for binary in wire.binary:
        wanted = [wire.output("probabilities", binary, class_count=2)]
        given = [tensor("input", ROWS.astype(np.float32), "FP32")]
        classes = client.infer("vectors", given, outputs=wanted).as_numpy("probabilities")
        assert classes.shape == (2, 2)
        for row, (label, by_label) in zip(classes, predict("vectors", ROWS.tolist())):
            value, _, name = (row[0].decode() if binary else row[0]).split(":")
            assert name == label and abs(float(value) - by_label[label]) < 1e-6

    # Refusals, and what was counted.
    invalid, absent = wire.refusals["invalid"], wire.refusals["absent"]
    short = [tensor("input", np.zeros((1, 7), dtype=np.float32), "FP32")]
    refused(lambda: client.infer("vectors", short), invalid, "the model takes a tensor of shape [n, 8]")
    refused(lambda: client.infer("none", short), absent, "there is no model none")
    refused(lambda: client.get_model_metadata("vectors", "9"), absent, "there is no version 9")
    nothing = [wire.library.InferRequestedOutput("nothing")]
    refused(lambda: client.infer("vectors", short, outputs=nothing), invalid, "unknown variant `nothing`")
    assert int(stats()["inference_count"]) > 80 and int(stats()["inference_stats"]["success"]["ns"]) > 0
    assert failed() == failed_before + 2
    assert len(wire.dictionary(client.get_inference_statistics())["model_stats"]) == 4


def ask_in_a_stream():
    """A stream goes on after a request that is refused, and is answered in order."""
    client, said = Grpc.client, queue.Queue()
    client.start_stream(callback=lambda result, error: said.put((result, error)))
    given = [Grpc.tensor("input", ROWS.astype(np.float32), "FP32")]
    for model in ["vectors", "none", "vectors"]:
        client.async_stream_infer(model, given, request_id=model)
    client.stop_stream()
    for is_refused in [False, True, False]:
        result, error = said.get(timeout=60)
        if is_refused:
            assert error.message() == "there is no model none", error
        else:
            assert error is None, error
            check(result, "vectors", ROWS.tolist())


def compare_descriptors():
    """Whatever our description of the protocol has is in Triton's, by the same names and numbers."""
    file = Path(__file__).parents[2] / "proto" / "inference.bin"
    (ours,) = FileDescriptorSet.FromString(file.read_bytes()).file
    theirs = tritonclient.grpc.service_pb2.DESCRIPTOR
    assert ours.package == theirs.package
    for service in ours.service:
        methods = theirs.services_by_name[service.name].methods_by_name
        for method in service.method:
            other = methods[method.name]
            types = (f".{other.input_type.full_name}", f".{other.output_type.full_name}")
            assert (method.input_type, method.output_type) == types, method
            streams = (other.client_streaming, other.server_streaming)
            assert (method.client_streaming, method.server_streaming) == streams, method

    def compare(message, other):
        for field in message.field:
            its = other.fields_by_name[field.name]
            assert (field.number, field.type) == (its.number, its.type), field
            assert (field.label == field.LABEL_REPEATED) == its.is_repeated, field
            named = its.message_type
            assert field.type_name == (f".{named.full_name}" if named else ""), field
        for inner in message.nested_type:
            compare(inner, other.nested_types_by_name[inner.name])

    for message in ours.message_type:
        compare(message, theirs.message_types_by_name[message.name])


ask_everything(Http)
ask_everything(Grpc)
ask_in_a_stream()
compare_descriptors()
