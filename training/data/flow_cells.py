"""Flow averaged over the cells of a coarse grid, with unknown cells filled from neighbours."""

import numpy as np
import numpy.typing as npt

from training.data.assets import Bools, Floats


def average_cells(
    flow: Floats, state: npt.NDArray[np.uint8], cells: int, background_weight: float
) -> tuple[Floats, Bools]:
    """Average flow [S,S,2] over cells x cells; state 0 is unknown, 1 surface, 2 background.

    Background samples count with `background_weight` and flow 0. Cells without any known sample
    take the mean of their known neighbours, ring by ring. Returns the flow [cells,cells,2] and
    where at least half of a cell was known.
    """
    step = flow.shape[0] // cells
    weight = np.where(state == 1, 1.0, np.where(state == 2, background_weight, 0.0)).astype(
        np.float32
    )
    total = weight.reshape(cells, step, cells, step).sum((1, 3))
    summed = (flow * weight[..., None]).reshape(cells, step, cells, step, 2).sum((1, 3))
    mean = summed / np.maximum(total, 1e-6)[..., None]
    known = (state > 0).reshape(cells, step, cells, step).mean((1, 3)) >= 0.5
    return _fill(mean, total > 1e-6), known


def _fill(values: Floats, known: Bools) -> Floats:
    values, known = np.where(known[..., None], values, 0), known.copy()
    while not known.all() and known.any():
        padded, mask = np.pad(values, ((1, 1), (1, 1), (0, 0))), np.pad(known, 1).astype(np.float32)
        n = values.shape[0]
        total, count = np.zeros_like(values), np.zeros(known.shape, np.float32)
        for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
            total += padded[dy : dy + n, dx : dx + n] * mask[dy : dy + n, dx : dx + n, None]
            count += mask[dy : dy + n, dx : dx + n]
        grown = ~known & (count > 0)
        values[grown] = total[grown] / count[grown, None]
        known |= grown
    return values
