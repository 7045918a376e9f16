"""Whether the server in this container is healthy: exits with 0 or 1.

It is asked by http, and where it speaks TLS by https; its certificate may be for any name, since
the way to it does not leave the container. No proxy of the environment is asked.

    python healthcheck.py [port]
"""

from __future__ import annotations

import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection

PORT = 8000
PATH = "/health"
TIMEOUT_S = 2.0


def is_healthy(port: int) -> bool:
    """Whether the server on this port of 127.0.0.1 says that it can serve."""
    anyone = ssl.create_default_context()
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    for connection in (
        HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S),
        HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT_S, context=anyone),
    ):
        try:
            connection.request("GET", PATH)
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            continue
        finally:
            connection.close()
    return False


if __name__ == "__main__":
    sys.exit(0 if is_healthy(int(sys.argv[1]) if len(sys.argv) > 1 else PORT) else 1)
