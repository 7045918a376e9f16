"""A Pipecat service that gives a bot a face: `RollcastVideoService`.

Needs `pip install rollcast-client[pipecat]`.
"""

from __future__ import annotations

from .service import RollcastVideoService, RollcastVideoSettings

__all__ = ["RollcastVideoService", "RollcastVideoSettings"]
