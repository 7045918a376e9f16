"""What a camera's motion does to a picture: that of a plane, for want of depth.

The plane stands upright before the camera, as far away as the picture is wide, and stays that far
whatever the camera does. So a motion moves the places of a picture at speeds that depend on the
place alone, as a flow that has no beginning: a dolly doubles sizes again and again at a steady
rate, and looks as a zoom does. With the camera's focal length at one picture width (a view of 53
degrees), a translation moves the picture by just as many widths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ...contract import CameraMotion

Doubles = NDArray[np.float64]


def flow(motion: CameraMotion, aspect: float) -> Doubles:
    """The flow [3, 3] of homogeneous places of a picture, a second; `aspect` is height by width.

    A place is (x, y, 1), x and y in 0..1. `flow` is the generator of homographies: after t seconds
    a place is at `exp(t * flow)` times it.
    """
    pitch, yaw, roll = (math.radians(angle) for angle in motion.rotation)
    # axes: right, down, forward, so that up, right and clockwise are turns about them as they are
    turn = np.array([[0.0, -roll, yaw], [roll, 0.0, -pitch], [-yaw, pitch, 0.0]])
    towards = np.zeros((3, 3))
    towards[:, 2] = motion.translation
    lens = np.array([[1.0, 0.0, 0.5], [0.0, 1.0 / aspect, 0.5], [0.0, 0.0, 1.0]])
    # what stands still moves against the camera
    return -lens @ (turn + towards) @ np.linalg.inv(lens)


def homographies(generator: Doubles, seconds: Sequence[float]) -> Doubles:
    """The homographies [T, 3, 3] that a flow is after so many seconds."""
    times = torch.as_tensor(np.asarray(seconds, dtype=np.float64))[:, None, None]
    return torch.matrix_exp(times * torch.as_tensor(generator)).numpy()


def moved(points: Doubles, homography: Doubles) -> tuple[Doubles, NDArray[np.bool_]]:
    """Where places [N, 2] are after homographies [..., 3, 3], [..., N, 2]; and which are in sight.

    A place that is not in sight is behind the camera or outside of the picture; where it is means
    nothing.
    """
    homogeneous = np.concatenate((points, np.ones((len(points), 1))), axis=1)
    carried = homogeneous @ np.swapaxes(homography, -1, -2)
    depth = carried[..., 2:]
    before = depth[..., 0] > 0.0
    places = carried[..., :2] / np.where(depth > 0.0, depth, 1.0)
    inside = ((places >= 0.0) & (places <= 1.0)).all(axis=-1)
    return places, before & inside
