"""What a model is told before anyone waits for it follows what it declares."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rollcast.models.contract import CameraMotion, Controls, ImageInput, ModelInputs
from rollcast.models.picture import fitted_pixels
from rollcast.models.test_pattern import TestPattern
from rollcast.models.warm_up import every_control, first_request, usual_controls

from ..server.world_pattern import EVERYTHING, FPS, HEIGHT, WIDTH, WorldPattern

WORLD = WorldPattern().info


def test_every_input_is_used_and_no_other() -> None:
    told = list(every_control(WORLD))
    images = [controls.image for controls in told if controls.image is not None]
    assert [fitted_pixels(image, WIDTH, HEIGHT).shape for image in images] == [(HEIGHT, WIDTH, 3)]
    moves = [controls.camera for controls in told if controls.camera is not None]
    assert moves[0] != CameraMotion() and moves[-1] == CameraMotion()
    (video,) = [controls.video for controls in told if len(controls.video)]
    assert video.shape == (WORLD.chunk_frames, HEIGHT, WIDTH, 3) and video.dtype == np.uint8
    other = list(every_control(TestPattern().info))
    assert not any(c.image or c.camera or len(c.video) for c in other)


def test_the_moves_are_those_that_every_camera_has() -> None:
    for controls in every_control(WORLD):
        if controls.camera is not None:
            assert controls.camera.translation[1] == controls.camera.rotation[2] == 0


def test_a_first_image_is_there_where_it_must_be() -> None:
    assert first_request(WORLD).image is None
    must = replace(WORLD, inputs=replace(EVERYTHING, image=ImageInput(64, 96, required=True)))
    image = first_request(must).image
    assert image is not None and fitted_pixels(image, 64, 96).shape == (96, 64, 3)


def test_what_a_chunk_costs_is_measured_with_sound_and_video() -> None:
    usual = usual_controls(TestPattern().info)
    assert usual.audio.any() and not len(usual.video)
    assert len(usual_controls(WORLD).video) == WORLD.chunk_frames == 4 and WORLD.fps == FPS
    assert not len(usual_controls(replace(WORLD, inputs=ModelInputs())).video)


def test_the_model_survives_it() -> None:
    model = WorldPattern()
    state = model.start(first_request(model.info))
    for controls in (*every_control(model.info), Controls()):
        assert model.step(state, controls).frames.shape[1:] == (HEIGHT, WIDTH, 3)
