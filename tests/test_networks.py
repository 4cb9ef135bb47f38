import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from entropic_ae import (
    ConvDecoder,
    ConvEncoder,
    GridDecoder,
    GridEncoder,
    InputError,
    MLPDecoder,
    MLPEncoder,
    ResidualDecoder,
    ResidualEncoder,
)
from entropic_ae.networks import ResidualBlock, UpsamplingConv2d
from entropic_ae.storage.tensors import write_tensors

ROWS = {
    "conv 4": (ConvEncoder, ConvDecoder, {"width": 2, "kernel_size": 4}),
    "conv 5": (ConvEncoder, ConvDecoder, {"width": 2, "kernel_size": 5}),
    "conv 3": (ConvEncoder, ConvDecoder, {"width": 2, "kernel_size": 3}),
    "conv deep": (ConvEncoder, ConvDecoder, {"width": 2, "depth": 3}),
    "residual": (ResidualEncoder, ResidualDecoder, {"width": 2}),
    "residual deep": (ResidualEncoder, ResidualDecoder, {"width": 2, "depth": 2}),
    "mlp": (MLPEncoder, MLPDecoder, {"hidden": 16, "depth": 2}),
}
SHAPES = [*((1 + s % 16 // 8 * 2, s, s) for s in (*range(8, 129, 8), 136, 256)), (2, 40, 72), (1, 8, 256)]


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(name, shape):
    encoder, decoder, sizes = ROWS[name]
    h = encoder(shape, 7, **sizes)(torch.rand(2, *shape))
    assert h.shape == (2, 7)
    x_hat = decoder(shape, 7, **sizes)(h)
    assert x_hat.shape == (2, *shape)
    assert 0 <= x_hat.min() <= x_hat.max() <= 1
    assert x_hat.dtype == torch.float32


def layers(module, kind):
    return [m for m in module.modules() if isinstance(m, kind)]


@pytest.mark.parametrize(
    ("shape", "kernel", "channels"), [((1, 32, 32), 4, [512, 256, 1]), ((3, 64, 64), 5, [512, 256, 128, 3])]
)
def test_the_paper_sizes(shape, kernel, channels):
    encoder = ConvEncoder(shape, 64, kernel_size=kernel)
    convolutions = layers(encoder, nn.Conv2d)
    assert [c.out_channels for c in convolutions] == [128, 256, 512, 1024]
    assert {(c.kernel_size, c.stride) for c in convolutions} == {((kernel, kernel), (2, 2))}
    assert encoder.linear.in_features == 1024 * (shape[1] // 16) ** 2
    decoder = ConvDecoder(shape, 64, kernel_size=kernel)
    transposed = layers(decoder, nn.ConvTranspose2d)
    assert decoder.linear.out_features == 8 * 8 * 1024
    assert [c.out_channels for c in transposed] == channels
    assert [c.stride for c in transposed] == [(2, 2)] * (len(channels) - 1) + [(1, 1)]
    for network, count in ((encoder, 4), (decoder, len(channels))):
        assert len(layers(network, nn.BatchNorm2d)) == len(layers(network, nn.ReLU)) == count


def test_depth_adds_convolutions_at_each_size():
    shallow, deep = (ConvEncoder((1, 32, 32), 4, width=2, depth=depth) for depth in (1, 3))
    assert len(layers(deep, nn.Conv2d)) == 3 * len(layers(shallow, nn.Conv2d)) == 12
    decoder = ConvDecoder((1, 32, 32), 4, width=2, depth=3)
    assert len(layers(decoder, nn.Conv2d)) == 2 * 2  # the last layer, to the image, stays alone
    with pytest.raises(InputError, match="depth must be at least 1, got 0"):
        ConvDecoder((1, 32, 32), 4, depth=0)


@pytest.mark.parametrize("kernel", [3, 4, 5])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 16, 16), (2, 8, 40), (1, 32, 32)])
def test_convolutions_are_pytorchs_though_taps_are_left_out(shape, kernel):
    encoder = ConvEncoder(shape, 4, width=2, kernel_size=kernel).double()
    for layer in layers(encoder, nn.Conv2d):
        layer.register_forward_hook(compare)
    encoder(torch.rand(3, *shape, dtype=torch.float64)).sum().backward()


def compare(layer, inputs, output):
    (x,) = inputs
    whole = nn.functional.conv2d(x, layer.weight, stride=2, padding=layer.padding)
    torch.testing.assert_close(output, whole)
    ones = torch.ones_like(output)
    of_parts, of_whole = (torch.autograd.grad(y, layer.weight, ones, retain_graph=True) for y in (output, whole))
    torch.testing.assert_close(of_parts, of_whole)


LARGEST_GRADIENT = """
import torch
from entropic_ae import ConvEncoder

encoder = ConvEncoder((1, 8, 8), 4, width=8)
with torch.autocast("cpu", torch.bfloat16):
    h = encoder(torch.rand(50, 1, 8, 8))
h.float().square().sum().backward()
print(torch.stack([p.grad.abs().amax() for p in encoder.parameters()]).amax().item())
"""


def test_gradients_in_bf16_hold_nothing_that_memory_held_before():
    filled = {**os.environ, "MALLOC_PERTURB_": "1"}  # glibc fills new memory with what is -1.7e38 in bf16
    command = [sys.executable, "-c", LARGEST_GRADIENT]
    printed = subprocess.run(command, env=filled, check=True, stdout=subprocess.PIPE).stdout
    assert float(printed) < 1e4


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 264, 264), (1, 0, 8), (0, 8, 8), (1, 8, 12)])
def test_other_sizes_are_refused(shape):
    for network in (ConvEncoder, ConvDecoder, ResidualEncoder, ResidualDecoder):
        with pytest.raises(InputError, match=r"multiples of 8 from 8 to 256, got .*set image_size"):
            network(shape, 4)


@pytest.mark.parametrize("network", [ConvEncoder, ConvDecoder, ResidualEncoder, ResidualDecoder])
def test_sizes_below_one_are_refused(network):
    with pytest.raises(InputError, match="width must be at least 1, got 0"):
        network((1, 8, 8), 4, width=0)


@pytest.mark.parametrize("shape", [(1, 24, 24), (1, 40, 40), (1, 136, 136)])
@pytest.mark.parametrize("name", ["conv 4", "conv 5", "residual"])
def test_every_pixel_reaches_the_code_and_is_reached_by_it(name, shape):
    """A wrong padding or crop leaves a border without a gradient."""
    kinds, sizes = ROWS[name][:2], {**ROWS[name][2], "width": 4}
    encoder, decoder = (kind(shape, 3, **sizes) for kind in kinds)
    x = torch.rand(4, *shape, requires_grad=True)
    encoder(x).square().sum().backward()
    assert x.grad.abs().amax((0, 1)).gt(0).all()
    assert decoder(torch.randn(16, 3)).std(0).gt(0).all()


@pytest.mark.parametrize("name", [name for name in ROWS if name != "residual deep"])
def test_spectral_norm_is_that_of_the_svd(name):
    """After enough power iterations every weight, a row an output channel, has largest singular value 1."""
    torch.manual_seed(0)  # the iteration is slow where two singular values are nearly equal
    encoder, decoder, sizes = ROWS[name]
    shape = (1, 16, 16)
    for network in (kind(shape, 5, **sizes, spectral=True) for kind in (encoder, decoder)):
        plain = layers(network, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
        assert plain
        for layer in plain:
            for _ in range(500):  # a power iteration each, as a pass through the network makes
                layer.weight  # noqa: B018
        network.eval()
        for layer in plain:
            weight = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
            largest = torch.linalg.svdvals(weight.flatten(1))[0].item()
            assert largest == pytest.approx(1, abs=1e-3)
            original = layer.parametrizations.weight.original
            torch.testing.assert_close(layer.weight * (original.norm() / layer.weight.norm()), original)


def test_spectral_state_survives_saving(tmp_path):
    """The power iteration's vectors are saved: the loaded network evaluates to the same."""
    network = ConvDecoder((1, 16, 16), 3, width=2, spectral=True)
    for _ in range(3):
        network(torch.randn(5, 3))
    write_tensors(tmp_path / "weights.safetensors", network.state_dict())
    again = ConvDecoder((1, 16, 16), 3, width=2, spectral=True)
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    z = torch.randn(5, 3)
    assert torch.equal(network.eval()(z), again.eval()(z))


def test_spectral_normalisation_is_off_unless_asked_for():
    assert not hasattr(ConvEncoder((1, 8, 8), 2, width=2).linear, "parametrizations")


@pytest.mark.parametrize("name", ["conv 4", "residual"])
def test_weights_are_laid_out_channels_last(name):
    for network in (kind((3, 16, 16), 2, width=4) for kind in ROWS[name][:2]):
        for layer in layers(network, nn.Conv2d | nn.ConvTranspose2d):
            assert layer.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("factor", [(2, 2), (1, 2), (2, 1), (1, 1)])
def test_upsampling_and_convolution_in_one_are_both_in_turn(factor):
    layer = UpsamplingConv2d(3, 4, factor).double()
    x = torch.rand(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    repeated = x.repeat_interleave(factor[0], 2).repeat_interleave(factor[1], 3)
    apart, whole = nn.functional.conv2d(repeated, layer.weight, padding=1), layer(x)
    torch.testing.assert_close(whole, apart)
    weights = torch.rand_like(whole)
    inputs = (x, layer.weight)
    torch.testing.assert_close(
        *(torch.autograd.grad(y, inputs, weights, retain_graph=True) for y in (whole, apart))
    )


def test_a_block_of_zero_weights_is_its_shortcut():
    """Halving averages, at an odd edge over what there is; doubling repeats; otherwise the input is passed on."""
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    halving, doubling, same = (
        ResidualBlock(1, 1, down=(2, 2)),
        ResidualBlock(1, 1, up=(2, 2)),
        ResidualBlock(1, 1),
    )
    for block in (halving, doubling, same):
        nn.init.zeros_(block.body[-1].weight)
    assert halving(x).tolist() == [[[[2.0, 3.5], [6.5, 8.0]]]]
    assert torch.equal(doubling(x), x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert torch.equal(same(x), x)


def test_residual_sizes():
    """From full to smallest size, at 64 pixels: the first convolution halves, then three blocks each way."""
    encoder, decoder = ResidualEncoder((3, 64, 64), 10, width=16), ResidualDecoder((3, 64, 64), 10, width=16)
    assert [block.body[-1].out_channels for block in layers(encoder, ResidualBlock)] == [32, 64, 128]
    assert encoder.linear.in_features == 128 * 4 * 4
    assert decoder.start == (128, 8, 8)
    assert [block.body[-1].out_channels for block in layers(decoder, ResidualBlock)] == [64, 32, 16]
    deep = ResidualDecoder((3, 64, 64), 10, width=16, depth=3)
    assert [block.body[-1].out_channels for block in layers(deep, ResidualBlock)] == [64] * 3 + [32] * 3 + [16] * 3
    assert ResidualDecoder((3, 256, 256), 10, width=2).start == (16, 8, 8)
    assert ResidualDecoder((1, 8, 8), 10, width=2).start == (8, 4, 4)


def test_large_images_of_the_papers_network_are_halved_once_more():
    encoder, decoder = ConvEncoder((3, 256, 256), 10, width=2), ConvDecoder((3, 256, 256), 10, width=2)
    assert [c.out_channels for c in layers(encoder, nn.Conv2d)] == [2, 4, 8, 16, 16]
    assert encoder.linear.in_features == 16 * 8 * 8
    assert decoder.start == (16, 16, 16)
    assert [c.out_channels for c in layers(decoder, nn.ConvTranspose2d)] == [8, 4, 2, 2, 3]
    assert ConvEncoder((3, 128, 128), 10, width=2).linear.in_features == 16 * 8 * 8  # four, as before
    assert ConvDecoder((3, 128, 128), 10, width=2).start == (16, 16, 16)


def checkerboard(images):
    """The share of the variation of neighbouring pixels, far from the border, that alternates."""
    centre = images.double()[..., 16:-16, 16:-16]
    signs = (-1.0) ** torch.arange(centre.shape[-1], dtype=torch.float64)
    spectrum = torch.stack(
        [
            (centre * signs).mean((2, 3)),
            (centre * signs[:, None]).mean((2, 3)),
            (centre * signs * signs[:, None]).mean((2, 3)),
        ]
    )
    return (spectrum.square().sum() / centre.var((2, 3)).sum()).item()


def logits(decoder, z):
    """What the sigmoid gets."""
    found = []
    decoder.eval().get_submodule("blocks" if isinstance(decoder, ResidualDecoder) else "convolutions")[
        -1
    ].register_forward_hook(lambda *given: found.append(given[-1]))
    with torch.no_grad():
        decoder(z)
    return found[0]


def test_upsampling_before_a_convolution_leaves_no_checkerboard():
    """Of a constant image and constant weights the inside stays constant; kernels of 5 count pixels unequally."""
    x = torch.ones(1, 2, 8, 8)
    layer = UpsamplingConv2d(2, 1, (2, 2))
    transposed = nn.ConvTranspose2d(2, 1, 5, stride=2, padding=2, output_padding=1, bias=False)
    for one in (layer, transposed):
        nn.init.ones_(one.weight)
    assert layer(x)[..., 1:-1, 1:-1].unique().tolist() == [18.0]
    assert sorted(transposed(x)[..., 4:-4, 4:-4].unique().tolist()) == [8.0, 12.0, 18.0]


@pytest.mark.parametrize("kernel", [4, 5])
def test_the_checkerboard_at_initialisation_is_weaker_than_the_papers(kernel):
    torch.manual_seed(0)
    z, shape = torch.randn(16, 8), (3, 64, 64)
    for _ in range(3):
        paper = checkerboard(logits(ConvDecoder(shape, 8, width=4, kernel_size=kernel), z))
        residual = checkerboard(logits(ResidualDecoder(shape, 8, width=4), z))
        assert residual < 0.1 * paper, (residual, paper)


def test_a_second_derivative_of_the_residual_decoder():
    decoder = ResidualDecoder((1, 8, 8), 2, width=1).double()
    z = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda z: decoder(z).sum(), z)


def test_the_residual_networks_are_one_graph_to_the_compiler():
    for network, x in (
        (ResidualEncoder((1, 16, 16), 3, width=1), torch.rand(4, 1, 16, 16)),
        (ResidualDecoder((1, 16, 16), 3, width=1), torch.randn(4, 3)),
    ):
        compiled = torch.compile(network.eval(), backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), network(x))
    torch.compiler.reset()


@pytest.mark.parametrize(("side", "grid"), [(8, 4), (32, 4), (32, 8), (64, 8), (32, 16)])
def test_a_cell_of_a_grid_is_made_of_its_region_and_its_surroundings(side, grid):
    torch.manual_seed(0)
    cell, x = 3, torch.rand(1, 2, side, side)
    encoder = GridEncoder((2, side, side), cell * grid**2, width=8, grid=grid, depth=1).eval()
    changed = x.clone()
    changed[:, :, : side // grid, : side // grid] += 0.5  # the region of the first cell
    moved = (encoder(x) != encoder(changed)).reshape(grid, grid, cell).any(2)
    assert moved[0, 0]
    assert not moved[4:].any()
    assert not moved[:, 4:].any()
    decoder = GridDecoder((2, side, side), cell * grid**2, width=8, grid=grid, depth=1).eval()
    z = torch.randn(1, cell * grid**2)
    other = z.clone()
    other[:, -cell:] += 1  # the last cell, at the lower right
    assert decoder(z).shape == (1, 2, side, side)
    rows = (decoder(z) != decoder(other))[0].any(0).any(1)
    assert rows[-1]
    assert not rows[: max(side - 6 * side // grid, 0)].any()


def test_a_grid_that_does_not_fit_is_refused():
    for shape in ((1, 24, 24), (1, 8, 16), (1, 4 * 8, 4 * 16)):
        with pytest.raises(InputError, match="a grid of 4 expects square images of 8, 16, 32, "):
            GridEncoder(shape, 16)
    with pytest.raises(InputError, match="a grid of 8 expects square images of 16, 32, 64"):
        GridDecoder((1, 8, 8), 64, grid=8)
    with pytest.raises(InputError, match="a grid of 4 x 4 cells expects codes of a multiple of 16 values, got 40"):
        GridDecoder((1, 32, 32), 40)
