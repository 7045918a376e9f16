"""Warping, layering and the explicit part of the latents."""

import torch
import torch.nn.functional as F

from rollcast.models.pocket.autoencoder import (
    FLOW_SIZE,
    FRAME_SIZE,
    GIVEN_CHANNELS,
    LATENT_CHANNELS,
    PICTURE_SIZE,
    FrameEncoder,
    Pictures,
    WarpDecoder,
    Window,
    at_rest,
    composite,
    cut_out,
    fold_motion,
    fold_opening,
    unfold_motion,
    warp,
)

CORNER = Window(2, 1, 5, 4)


def _picture(seed: int) -> torch.Tensor:
    small = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return F.interpolate(small, PICTURE_SIZE, mode="bilinear")


def test_no_flow_gives_the_picture_at_the_size_of_a_frame() -> None:
    picture = _picture(0)
    still = torch.zeros(1, 2, FRAME_SIZE, FRAME_SIZE)
    # a sample between four pixels is their mean
    torch.testing.assert_close(warp(picture, still), F.avg_pool2d(picture, 2), atol=1e-4, rtol=0)


def test_flow_is_in_pixels_of_a_frame_whatever_the_size_of_the_source() -> None:
    picture = _picture(1)
    flow = torch.zeros(1, 2, FRAME_SIZE, FRAME_SIZE)
    flow[:, 0], flow[:, 1] = 12, -7
    expected = F.avg_pool2d(picture, 2)
    inside = (slice(None), slice(None), slice(20, 160), slice(20, 160))
    shifted = expected.roll((7, -12), (2, 3))
    torch.testing.assert_close(warp(picture, flow)[inside], shifted[inside], atol=1e-4, rtol=0)


def test_a_window_shows_the_same_as_the_whole_frame() -> None:
    picture = _picture(2)
    flow = 6 * torch.randn(1, 2, FRAME_SIZE, FRAME_SIZE)
    step = FRAME_SIZE // 8
    rows, columns = slice(2 * step, 7 * step), slice(step, 5 * step)
    part = warp(picture, flow[..., rows, columns].contiguous(), CORNER)
    whole = warp(picture, flow)[..., rows, columns]
    torch.testing.assert_close(part, whole, atol=1e-4, rtol=0)


def test_both_flows_come_back_from_the_latents() -> None:
    flow, open_flow = torch.randn(2, 2, 16, 16) * 9, torch.randn(2, 2, 16, 16) * 9
    scale = torch.tensor([6.0, 24.0])
    never = torch.zeros(2, 1, 1, 1, dtype=torch.bool)
    opening = fold_opening(flow, open_flow, scale, never)
    learned = torch.randn(2, LATENT_CHANNELS - GIVEN_CHANNELS, 8, 8)
    latents = torch.cat([fold_motion(flow, scale), opening, learned], 1)
    again, open_again = unfold_motion(latents, scale, never)
    torch.testing.assert_close(again, flow)
    torch.testing.assert_close(open_again, open_flow)


def test_what_moves_uncovers_the_plate() -> None:
    plate = torch.zeros(1, 3, PICTURE_SIZE, PICTURE_SIZE)
    picture = plate.clone()
    picture[..., 100:140, 100:140] = 0.8
    front = cut_out(picture, plate, torch.zeros(1, 1, 1, 1, dtype=torch.bool))
    behind = torch.zeros(1, 3, FRAME_SIZE, FRAME_SIZE)
    flow = torch.zeros(1, 2, FRAME_SIZE, FRAME_SIZE)
    flow[:, 0] = -50
    moved = composite(front, behind, flow, Window(0, 0, 8, 8))
    assert float(moved[..., 60, 60].abs().max()) < 1e-3
    assert float(moved[..., 60, 110].min()) > 0.79


@torch.no_grad()
def test_an_untrained_decoder_shows_the_reference_at_rest() -> None:
    decoder, encoder = WarpDecoder().eval(), FrameEncoder().eval()
    picture, opened, plate = _picture(3), _picture(4), torch.full((1, 3, 384, 384), -0.9)
    no = torch.tensor([False])
    pictures = Pictures(picture, opened, plate, flat=no, pans=no)
    reference, scale = decoder.encode_reference(pictures), torch.tensor([6.0])
    frame = F.avg_pool2d(picture, 2)
    latents = at_rest(encoder, picture, reference, scale)
    assert latents.shape == (1, LATENT_CHANNELS, 8, 8)
    made = decoder(latents, reference, scale)
    assert made.frames.shape == (1, 3, FRAME_SIZE, FRAME_SIZE)
    # 1.8% of the open picture shines through until the choice has been learnt
    assert float((made.frames - frame).abs().mean()) < 0.05


@torch.no_grad()
def test_chunks_show_what_the_whole_clip_shows() -> None:
    torch.manual_seed(0)
    decoder = WarpDecoder().eval()
    for parameter in decoder.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
    pictures = Pictures.without_plate(_picture(9), _picture(10))
    reference, scale = decoder.encode_reference(pictures), torch.tensor([6.0])
    latents = 0.3 * torch.randn(12, LATENT_CHANNELS, 8, 8)
    whole = decoder(latents, reference.expand(12), scale.expand(12)).frames
    assert float(whole.diff(dim=0).abs().mean()) > 0.01, "frames differ"
    chunks = [
        decoder(part, reference.expand(4), scale.expand(4)).frames for part in latents.split(4)
    ]
    # the same sums in batches of another size: only their rounding may differ
    torch.testing.assert_close(torch.cat(chunks), whole, atol=1e-4, rtol=0)


@torch.no_grad()
def test_a_picture_without_a_plate_stands_whole_before_a_blurred_copy() -> None:
    decoder, encoder = WarpDecoder().eval(), FrameEncoder().eval()
    picture, opened, other = _picture(5), _picture(6), _picture(7)
    brought = decoder.encode_reference(Pictures.without_plate(picture, opened))
    # what a plate would say must not count
    yes = torch.tensor([True])
    said = decoder.encode_reference(Pictures(picture, opened, other, flat=yes, pans=~yes))
    assert all(torch.equal(a, b) for a, b in zip(brought, said, strict=True))
    for front in (brought.front, brought.opened):
        assert torch.equal(front[:, 3], torch.ones_like(front[:, 3]))
    assert float(brought.plate.diff().abs().max()) < 0.1 < float(picture.diff().abs().max())
    scale = torch.tensor([6.0])
    latents = at_rest(encoder, picture, brought, scale)
    assert not latents[:, :GIVEN_CHANNELS].any() and latents.shape[-1] == FLOW_SIZE // 2
    made = decoder(latents, brought, scale).frames
    assert float((made - F.avg_pool2d(picture, 2)).abs().mean()) < 0.05


@torch.no_grad()
def test_a_camera_moves_the_plate_and_things_go_their_own_way() -> None:
    decoder, encoder = WarpDecoder().eval(), FrameEncoder().eval()
    plate = _picture(8)
    picture = plate.clone()
    picture[..., 100:140, 100:140] = torch.tensor([1.0, -1, 1])[:, None, None]
    yes, scale = torch.tensor([True]), torch.tensor([24.0])
    reference = decoder.encode_reference(Pictures(picture, plate, plate, flat=~yes, pans=yes))
    # what was at x is seen at x + 12, but the square has not moved
    flow, way = torch.zeros(1, 2, 16, 16), torch.zeros(1, 2, 16, 16)
    way[:, 0] = -12
    latents = encoder(F.avg_pool2d(picture, 2), reference, flow, way, scale)
    again, camera = unfold_motion(latents, scale, reference.pans)
    torch.testing.assert_close(again, flow)
    torch.testing.assert_close(camera, way)
    made = decoder(latents, reference, scale).frames[0]
    expected = F.avg_pool2d(plate, 2)[0].roll(12, 2)
    expected[:, 50:70, 50:70] = torch.tensor([1.0, -1, 1])[:, None, None]
    assert float((made - expected)[:, :, 16:].abs().mean()) < 0.02


def test_the_camera_goes_one_way_whatever_single_cells_say() -> None:
    pans, scale = torch.ones(1, 1, 1, 1, dtype=torch.bool), torch.tensor([24.0])
    latents = torch.randn(1, LATENT_CHANNELS, 8, 8)
    _, way = unfold_motion(latents, scale, pans)
    assert float((way - way[..., :1, :1]).abs().max()) == 0
