"""A pipeline across machines, as torchrun describes it to each of its processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .agent import KEY_VARIABLE
from .launchers import Launcher, Listener, LocalLauncher, RemoteLauncher
from .messages import ModelSpec
from .pipeline import Pipeline

# torchrun's own store has MASTER_PORT
_PORT_OFFSET = 1


@dataclass(frozen=True, slots=True)
class Cluster:
    """Rank 0 runs the server and the first stage, each other rank one stage.

    `address` is where rank 0 listens for them; who comes must know `key`.
    """

    rank: int
    world: int
    address: tuple[str, int]
    key: bytes

    @classmethod
    def of_environment(cls, environment: Mapping[str, str], stages: int) -> Cluster | None:
        """The cluster that torchrun started; None if it is not torchrun, or for one process.

        Raises ValueError unless it has one process for each stage, and a key.
        """
        world = int(environment.get("WORLD_SIZE", "1"))
        if world == 1 or "TORCHELASTIC_RUN_ID" not in environment:
            return None
        if world != stages:
            raise ValueError(
                f"torchrun started {world} processes for {stages} stages; start one for each stage"
            )
        key = environment.get(KEY_VARIABLE, "")
        if not key:
            raise ValueError(
                f"stages on several machines need a secret that all know: set {KEY_VARIABLE}"
            )
        port = int(environment["MASTER_PORT"]) + _PORT_OFFSET
        address = (environment["MASTER_ADDR"], port)
        return cls(int(environment["RANK"]), world, address, key.encode())

    def pipeline(self, model: ModelSpec) -> Pipeline:
        """The pipeline, once all agents have come. Raises OSError if one does not."""
        host, port = self.address
        listener = Listener(("", port), self.key)
        launchers: list[Launcher] = [LocalLauncher(shared=True, preload=model.preload)]
        for rank in range(1, self.world):
            launchers.append(RemoteLauncher(listener.admit(f"agent {rank}"), listener, rank))
        return Pipeline(model, self.world, launchers=launchers, host=host)
