"""`python -m rollcast.server.cli`: the command line without its console script."""

from __future__ import annotations

from .app import main

if __name__ == "__main__":
    main()
