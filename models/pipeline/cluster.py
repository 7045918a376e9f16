"""A pipeline across machines, as torchrun describes it to each of its processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .launchers import KEY_VARIABLE, Launcher, LocalLauncher, RemoteLauncher
from .messages import ModelSpec
from .pipeline import Pipeline
from .secure_channel import Listener

# torchrun's own store has MASTER_PORT
_PORT_OFFSET = 1
_LEAST_KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Cluster:
    """Rank 0 runs the server and the first stage, each other rank one stage.

    `address` is where rank 0 listens for them, and on no other of its addresses; who comes must
    know `key`.
    """

    rank: int
    world: int
    address: tuple[str, int]
    key: bytes = field(repr=False)

    @classmethod
    def of_environment(cls, environment: Mapping[str, str], stages: int) -> Cluster | None:
        """The cluster that torchrun started; None if it is not torchrun, or for one process.

        Raises ValueError unless it has one process for each stage, and a key that is long enough.
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
        if len(key.encode()) < _LEAST_KEY_BYTES:
            raise ValueError(
                f"{KEY_VARIABLE} has less than {_LEAST_KEY_BYTES} bytes and could be guessed: "
                "take the output of `openssl rand -hex 32`"
            )
        port = int(environment["MASTER_PORT"]) + _PORT_OFFSET
        address = (environment["MASTER_ADDR"], port)
        return cls(int(environment["RANK"]), world, address, key.encode())

    def pipeline(self, model: ModelSpec) -> Pipeline:
        """The pipeline, once all agents have come. Raises OSError if one does not."""
        listener = self._listener()
        launchers: list[Launcher] = [LocalLauncher(preload=model.preload)]
        for rank in range(1, self.world):
            launchers.append(RemoteLauncher(listener.admit(f"agent {rank}"), listener, rank))
        return Pipeline(model, self.world, launchers=launchers, listener=listener)

    def _listener(self) -> Listener:
        host, port = self.address
        try:
            return Listener(self.address, self.key)
        except OSError as error:
            raise OSError(
                f"cannot listen for stages on {host} port {port}: {error}. The first machine must "
                "have the address that --rdzv-endpoint (or --master-addr) names, for it listens "
                "there and nowhere else"
            ) from error
