"""Imports of packages that warn of what nobody here asked for.

transformers imports torchao where that is installed, for weights that are quantised its way, and
torchao says of each of its libraries for GPUs that it could not be loaded, and of torch that it is
newer. Neither says anything about what is then computed.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Within it nothing is logged below an error, by anyone: for imports alone."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
