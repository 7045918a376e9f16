"""The Python client of the streaming protocol; knows the wire and nothing of the server."""
