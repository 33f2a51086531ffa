"""Asks a service that has the models of tests/api/oip.rs with tables of pyarrow."""

import json
import sys
import urllib.error
import urllib.request

import pyarrow as pa

HOST = sys.argv[1]
STREAM = "application/vnd.apache.arrow.stream"


def post(model, body, content_type):
    url = f"http://{HOST}/v1/models/{model}/predict"
    return urllib.request.urlopen(urllib.request.Request(url, body, {"content-type": content_type}))


def written(table, **options):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=3)
    return sink.getvalue().to_pybytes()


def check(model, table, inputs, **options):
    """Rows are answered as the same inputs are in JSON."""
    body = json.dumps({"inputs": inputs}).encode()
    expected = json.load(post(model, body, "application/json"))["predictions"]
    answer = post(model, written(table, **options), STREAM)
    assert answer.headers["content-type"] == STREAM and answer.headers["x-perennial-version"] == "1"
    said = pa.ipc.open_stream(answer).read_all()
    said.validate(full=True)
    assert said.column("label").to_pylist() == [p["label"] for p in expected]
    assert said.column("error").null_count == len(inputs)
    for row, p in zip(said.to_pylist(), expected):
        assert abs(row["probability"] - p["probability"]) < 1e-5, (row, p)
        assert row["top"] == [{"label": row["label"], "probability": row["probability"]}], row


def refused(model, body, status, words):
    try:
        post(model, body, STREAM)
    except urllib.error.HTTPError as error:
        problem = json.load(error)
        assert error.code == status and words in problem["detail"], problem
        return
    raise AssertionError(f"not refused: {words}")


VECTORS = [[float(i + j) for j in range(8)] for i in range(7)]
check("vectors", pa.table({"x": pa.array(VECTORS, pa.list_(pa.float32()))}), VECTORS)
check("vectors", pa.table({"x": pa.array(VECTORS, pa.list_(pa.float64(), 8))}), VECTORS)
check("vectors", pa.table({f"x{j}": [row[j] for row in VECTORS] for j in range(8)}), VECTORS)

CITIES = ["Ulm", None, "Bonn", "Ulm", "Kiel"]
ROWS = [{"x": x, "city": city} for x, city in enumerate(CITIES)]
for cities in [
    pa.array(CITIES),
    pa.array(CITIES, pa.large_string()),
    pa.array(CITIES, pa.string_view()),
    pa.array(CITIES).dictionary_encode(),
]:
    check("rows", pa.table({"city": cities, "x": pa.array(range(5), pa.uint16())}), ROWS)
# Dictionaries that grow from batch to batch.
parts = [pa.array(CITIES[:3]).dictionary_encode(), pa.array(CITIES).dictionary_encode()]
table = pa.table({"x": [0, 1, 2, 0, 1, 2, 3, 4], "city": pa.chunked_array(parts)})
check("rows", table, ROWS[:3] + ROWS, emit_dictionary_deltas=True)
check("rows", table, ROWS[:3] + ROWS)

TEXTS = ["the striker scored goal number 7", "the bank sold share number 7"] * 4
check("texts", pa.table({"text": TEXTS}), TEXTS)

nothing = pa.ipc.open_stream(post("texts", written(pa.table({"text": pa.array([], pa.string())})), STREAM)).read_all()
assert nothing.num_rows == 0 and "label" in nothing.column_names

plain = written(pa.table({"text": TEXTS}))
refused("texts", written(pa.table({"text": TEXTS}), compression="zstd"), 415, "compressed")
refused("texts", written(pa.table({"text": TEXTS}), compression="lz4"), 415, "compressed")
refused("texts", plain[:300], 400, "cut off")
refused("texts", written(pa.table({"text": [1, 2]})), 422, "takes texts")
refused("rows", written(pa.table({"x": [1.5]})), 422, "feature `city`")
file = pa.BufferOutputStream()
with pa.ipc.new_file(file, pa.schema([("text", pa.string())])) as writer:
    writer.write_table(pa.table({"text": TEXTS}))
refused("texts", file.getvalue().to_pybytes(), 400, "an Arrow file")
