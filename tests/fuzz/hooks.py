"""What schemathesis needs to be told to fuzz the API: how lines of JSON are written."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(ctx, value):
    """The document's example is text; what is generated may be anything."""
    return (value if isinstance(value, str) else json.dumps(value)).encode(errors="replace")
