"""Animations: closed walks through codes, and the files of their frames."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence

import entropic_ae as eae
from entropic_ae import InputError, generation, pictures

SHADES = torch.arange(0, 240, 20, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 16, 24).contiguous()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("animation") / "run"
    return eae.train("eae", "digits", set={"width": 2}, epochs=1, out=out, device="cpu", progress=False)


def test_a_walk_passes_every_code_and_closes():
    codes = torch.nn.functional.normalize(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)))
    walk = generation.walk_codes(codes, 5)
    assert walk.shape == (20, 6)
    assert torch.allclose(walk[::5], codes)
    assert torch.allclose(walk.norm(dim=1), torch.ones(20))  # on the sphere throughout
    steps = (walk.roll(-1, 0) - walk).norm(dim=1).view(4, 5)
    assert torch.allclose(steps, steps[:, :1].expand(4, 5), atol=1e-5)  # of one length, the one to the start too
    middle = generation.walk_codes(codes, 2, "linear")[1::2]
    assert torch.allclose(middle, (codes + codes.roll(-1, 0)) / 2)


def test_a_walk_of_a_run_is_of_its_density_or_of_images(run):
    codes = run.density("prior").sample(3, seed=4)
    walk = run.walk(3, frames=4, seed=4)
    assert walk.shape == (12, 1, 8, 8)
    assert torch.equal(walk[::4], run.decode(codes))
    images = run.data.test.images[:2]
    assert torch.equal(run.walk(images=images, frames=2)[::2], run.reconstruct(images))
    assert torch.equal(run.walk(3, frames=4, seed=4, density=eae.Prior(run.model.bottleneck.prior())), walk)
    with pytest.raises(InputError, match=r"at least 2 codes \(N, D\), got shape \(1, 8\)"):
        run.walk(1)
    with pytest.raises(InputError, match="at least 1 frame from each code to the next, got 0"):
        run.walk(frames=0)


def test_a_gif_holds_every_frame_and_repeats(tmp_path):
    out = eae.save_animation(SHADES, tmp_path / "a.gif", fps=20)
    with Image.open(out) as image:
        frames = [np.asarray(one.convert("RGB")) for one in ImageSequence.Iterator(image)]
        assert image.info["loop"] == 0
        assert image.info["duration"] == 50
    assert [frame.shape for frame in frames] == [(160, 240, 3)] * 12  # ten times as large
    assert [int(frame[0, 0, 0]) for frame in frames] == SHADES[:, 0, 0, 0].tolist()


@pytest.mark.skipif(find_spec("av") is None, reason="needs the extra video")
def test_an_mp4_holds_every_frame(tmp_path):
    import av

    out = eae.save_animation(SHADES, tmp_path / "a.mp4", fps=24)
    with av.open(str(out)) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 24
        frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(stream)]
    assert [frame.shape for frame in frames] == [(160, 240, 3)] * 12
    assert np.allclose([frame.mean() for frame in frames], SHADES[:, 0, 0, 0], atol=4)


def test_what_cannot_be_written_is_refused_before_anything_is_decoded(tmp_path, monkeypatch):
    (tmp_path / "there.gif").touch()
    with pytest.raises(InputError, match=r"there\.gif exists and is not overwritten"):
        eae.save_animation(SHADES, tmp_path / "there.gif")
    with pytest.raises(InputError, match=r"cannot write an animation as '\.avi'"):
        eae.save_animation(SHADES, tmp_path / "a.avi")
    with pytest.raises(InputError, match=r"fps must be from 1 to 50 for \.gif, got 60"):
        eae.save_animation(SHADES, tmp_path / "a.gif", fps=60)
    with pytest.raises(InputError, match="at least one image, got none"):
        eae.save_animation(SHADES[:0], tmp_path / "a.gif")
    monkeypatch.setattr(pictures, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"needs PyAV.*pip install 'entropic-ae\[video\]', or give FILE.gif"):
        eae.save_animation(SHADES, tmp_path / "a.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["there.gif"]


def test_the_command_line_animates(run, call, tmp_path):
    out = tmp_path / "walk.gif"
    code, said, _ = call("interpolate", run.folder, "--n", "3", "--steps", "4", "--out", out, "--device", "cpu")
    assert (code, said.strip()) == (0, str(out))
    images = run.data.test.images[:3]
    with Image.open(out) as image:
        frames = [np.asarray(one.convert("L")) for one in ImageSequence.Iterator(image)]
    expected = [
        one.repeat_interleave(32, 1).repeat_interleave(32, 2)[0] for one in run.walk(images=images, frames=4)
    ]
    assert all(any(np.array_equal(frame, one) for one in expected) for frame in frames)
    assert "exists and is not overwritten" in call("interpolate", run.folder, "--out", out)[2]
    other = tmp_path / "prior.gif"
    assert call("interpolate", run.folder, "--density", "prior", "--n", "2", "--out", other)[0] == 0
    assert "--density is of an animation" in call("interpolate", run.folder, "--density", "prior")[2]
