"""Exported files against PyTorch, SciPy and the library's own draws.

A graph is that of a network, with or without spectral normalisation, and a bottleneck, or of a density: each is
exported once, many in one file, and not each recipe, since recipes share them. ``test_graphs_of_every_recipe``
holds them to it; ``results/conformance/onnx.json`` has each recipe.
"""

import ast
import copy
import json
import re
import sys
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from torch.distributions import Independent, StudentT
from torch.nn.utils.parametrize import is_parametrized

import entropic_ae as eae
from entropic_ae import cli
from entropic_ae.densities import Copula, Gaussian, Marginals, Mixture, Prior, Sampler, SecondStage
from entropic_ae.distributed import synchronise
from entropic_ae.errors import InputError
from entropic_ae.export import export_model, graphs, make_sampler, writing
from entropic_ae.export import onnx as onnx_files
from entropic_ae.priors import UniformSphere
from entropic_ae.randomness import generator, seeded
from entropic_ae.transports import GaussianTransport
from test_docs import EXPORT, run_page

WITHOUT = "the extra onnx is not installed"
onnx, onnxruntime = (pytest.importorskip(name, reason=WITHOUT) for name in ("onnx", "onnxruntime"))
pytest.importorskip("onnxscript", reason=WITHOUT)
from torch.onnx._internal.exporter._registration import ONNXRegistry  # noqa: E402, after the extra

BLOCKS = re.findall(r"```python\n(.*?)```", EXPORT.read_text(), re.DOTALL)
ABOUT = {"recipe": "ae", "data": "digits", "library": "entropic-ae"}
SIZES = (1, 7, 64)
SMALL = {"width": 2, "latent_dim": 3, "batch_size": 20}
# by the name of a case: the preset, the shape and the settings of its networks
NETWORKS = {
    "conv": ("digits", (1, 8, 8), {"width": 2}),
    "spectral": ("digits", (1, 8, 8), {"width": 2, "spectral": True}),
    "large": ("celeba", (3, 64, 48), {"width": 1, "depth": 2}),
    "residual": ("digits", (2, 16, 40), {"network": "residual", "width": 1, "depth": 2, "spectral": True}),
    "grid": ("digits", (1, 8, 8), {"network": "grid", "grid": 1, "width": 2}),
    "mlp": ("mlp", (3, 5, 2), {"hidden": 5}),
}
FOLDED = ("spectral",)  # exported as "conv" is: test_the_model_is_left_as_it_is compares the folded weights
CODES = 1 + torch.randn(200, 3, generator=generator(0)) @ torch.tensor(
    [[2.0, 1.0, 0.0], [0.0, 0.5, 0.3], [0.0, 0.0, 1.0]]
)


def build(network="mlp", bottleneck="identity"):
    """A model whose statistics and spectral norms have settled, as those of a trained one."""
    return copy.deepcopy(settled(network, bottleneck))


@cache
def settled(network, bottleneck):
    preset, shape, settings = NETWORKS.get(network, NETWORKS["mlp"])
    changes = {**settings, "latent_dim": 3, "bottleneck": bottleneck}
    model, _ = eae.configure(eae.RECIPES["ae"], eae.PRESETS[preset], changes).build(shape, seed=0)
    if network is None:  # the bottleneck alone
        shape = (1, 1, model.bottleneck.in_features)
        model.encoder = torch.nn.Flatten()
    with torch.no_grad(), seeded(1):
        for _ in range(40):
            model(torch.rand(20, *shape) ** 2)
    return model.eval(), shape


class Several(torch.nn.Module):
    """Graphs of one input, each of a part of it: one export takes a fraction of the time of an export each."""

    def __init__(self, parts):
        super().__init__()
        self.modules_of_parts = torch.nn.ModuleList(module for module, _ in parts)
        self.parts = [part for _, part in parts]

    def forward(self, x):
        return tuple(module(part(x)) for module, part in zip(self.modules_of_parts, self.parts, strict=True))


def corner(x, shape):
    """The first channels, rows and columns of images: those of the shape."""
    return x[:, : shape[0], : shape[1], : shape[2]]


def centred(x, shape):
    return corner(x, shape) - 0.5


def as_codes(x):
    """Values in [0, 1] as codes of both signs."""
    return 4 * x - 2


def session_of(parts, columns):
    """Export modules as one graph; each is given the part of the input that its function takes."""
    outputs = {f"output{i}": "" for i in range(len(parts))}
    graph = graphs.Graph(Several(parts), None, lambda n: (torch.rand(n, *columns),), {"x": ""}, outputs, {})
    content = onnx_files.onnx_files({"several": graph}, ABOUT)["several"]
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def agree(run, functions, columns):
    """Compare the outputs of an exported graph with functions of a tensor, for several sizes of the batch."""
    for n in SIZES:
        x = torch.rand(n, *columns, generator=generator(n))
        for function, found in zip(functions, run.run(None, {"x": x.numpy()}), strict=True):
            with torch.no_grad():
                expected = function(x)
            torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-4, rtol=0)
            assert n == 1 or expected.std(0).max() > 0.02  # not a constant


def draw(density, noise):
    """The codes that the graph of a sampler makes of noise; its images are those of the codes."""
    model, shape = build()
    graph = graphs.make_graphs(model, shape, {"own": density})["sampler-own"]
    with torch.no_grad():
        codes = graph.module(noise.float())
        images, answer = graph.answer(noise.float())
        assert torch.equal(answer, codes)
        torch.testing.assert_close(images, model.decode(codes), atol=1e-5, rtol=0)
    return codes


@pytest.fixture(scope="module", autouse=True)
def one_table():
    """Let the exporter make its table of operators once: a third of the time of each export."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(cache(ONNXRegistry.from_torchlib)))
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The run of docs/export.md, in whose folder the blocks of the page have run. Each graph is made once."""
    make, made = writing.onnx_files, {}

    def once(graphs, about):
        files = made.setdefault(about["weights_sha256"], {})
        if not graphs.keys() <= files.keys():
            files |= make(graphs, about)
        return {name: files[name] for name in graphs}

    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("export")
        patch.chdir(folder)
        patch.setattr(writing, "onnx_files", once)
        run_page(EXPORT, patch)
        run = eae.load(folder / "runs" / "eae-digits-0", device="cpu")
        assert (folder / "deployed" / "decoder.onnx").read_bytes() == made[run.weights_sha256()]["decoder"]
        run.differences = {path.name: difference for path, difference in run.export().items()}
    return run


@pytest.fixture(scope="module")
def exported(run):
    """The run's ONNX files, with the largest differences."""
    return run.differences


# networks and bottlenecks


def test_encoders_of_every_network_and_bottleneck():
    parts, expected = [], []
    kinds = [(network, "identity") for network in NETWORKS if network not in FOLDED]
    kinds += [(None, bottleneck) for bottleneck in eae.BOTTLENECKS if bottleneck != "identity"]
    for kind, (model, shape) in ((kind, build(*kind)) for kind in kinds):
        # the encoder's output of a bottleneck alone has both signs
        part = partial(corner, shape=shape) if kind[0] else partial(centred, shape=shape)
        parts.append((graphs.make_graphs(model, shape, {})["encoder"].module, part))
        expected.append(lambda x, encode=model.encode, part=part: encode(part(x)))
    agree(session_of(parts, (3, 64, 48)), expected, (3, 64, 48))


def test_decoders_of_every_network():
    models = [build(network) for network in NETWORKS if network not in FOLDED]
    models += [build("mlp", name) for name, kind in eae.BOTTLENECKS.items() if kind.is_discrete]  # move codes
    parts = [(graphs.make_graphs(model, shape, {})["decoder"].module, as_codes) for model, shape in models]
    expected = [lambda z, decode=model.decode: decode(as_codes(z)) for model, _ in models]
    agree(session_of(parts, (3,)), expected, (3,))


@pytest.mark.parametrize("recipe", eae.RECIPES)
def test_graphs_of_every_recipe(recipe):
    """Every recipe on every preset is made of networks, options and a bottleneck that are compared above."""
    compared = {
        (encoder, decoder, spectral)
        for preset, _, settings in NETWORKS.values()
        for encoder, decoder in [(eae.PRESETS[preset].encoder.func, eae.PRESETS[preset].decoder.func)]
        for spectral in [settings.get("spectral", False)]
    }
    for preset in eae.PRESETS.values():
        system = eae.configure(eae.RECIPES[recipe], preset)
        settings = system.settings()
        if preset.name != "mlp" or not settings["spectral"]:  # which is folded alike for every layer
            assert (preset.encoder.func, preset.decoder.func, settings["spectral"]) in compared
        assert settings["bottleneck"] in eae.BOTTLENECKS
        assert set(system.recipe.densities) <= set(eae.DENSITIES)  # each of which test_densities.py compares


def test_the_model_is_left_as_it_is():
    model, shape = build("spectral", "whitening")
    x = torch.rand(5, *shape, generator=generator(0))
    codes = model.encode(x)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    plain = graphs.plain_copy(model.double().train())
    assert model.training
    assert is_parametrized(model.encoder.linear)
    assert not any(is_parametrized(layer) for layer in plain.modules())
    assert next(plain.parameters()).dtype == torch.float32
    assert model.state_dict().keys() == before.keys()
    torch.testing.assert_close(model.float().eval().encode(x), codes)
    torch.testing.assert_close(plain.encode(x), codes, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(plain.decode(codes), model.decode(codes), atol=1e-6, rtol=1e-5)
    layers = [[type(layer) for layer in one.modules()] for one in (plain, build("conv", "whitening")[0])]
    assert layers[0] == layers[1]  # so that one export stands for both


# samplers


def test_cube_codes_are_the_uniform_quantiles_of_the_noise():
    levels = torch.linspace(0.005, 0.995, 100, dtype=torch.float64)
    noise = torch.stack([torch.special.ndtri(levels), torch.special.ndtri(levels).flip(0), torch.zeros(100)], 1)
    codes = draw(Prior(eae.Cube(3).prior()), noise)
    expected = torch.stack([2 * levels - 1, 1 - 2 * levels, torch.zeros(100)], 1)  # uniform on [-1, 1]
    torch.testing.assert_close(codes, expected.float(), atol=1e-6, rtol=0)


def test_laplace_codes_are_quantiles_of_the_noise_far_out_too():
    noise = torch.linspace(-9, 9, 301)[:, None] * torch.tensor([1.0, -1.0, 0.0])
    codes = draw(Prior(eae.L1Norm(3).prior()), noise)
    tail = scipy.stats.norm.sf(noise.abs().double().numpy())
    expected = scipy.stats.laplace.isf(tail) * noise.sign().numpy()
    torch.testing.assert_close(codes.double(), torch.from_numpy(expected), atol=1e-5, rtol=1e-6)


def test_sphere_codes_are_the_directions_of_the_noise():
    codes = draw(Prior(eae.Sphere(3).prior()), torch.tensor([[3.0, 4.0, 0.0], [-0.1, 0.2, 0.2]]))
    torch.testing.assert_close(codes, torch.tensor([[0.6, 0.8, 0.0], [-1 / 3, 2 / 3, 2 / 3]]))


def test_normal_codes_are_the_noise():
    noise = torch.randn(50, 3, generator=generator(5))
    assert torch.equal(draw(Prior(eae.BatchNorm(3).prior()), noise), noise)


@pytest.mark.parametrize("kind", [Gaussian, Copula, Marginals])
def test_fitted_codes_are_the_densitys_own_draws(kind):
    density = kind.fit(CODES, None)
    if kind is Marginals:
        noise = torch.special.ndtri(torch.rand(50, 3, generator=generator(4), dtype=torch.float64))
    else:
        noise = torch.randn(50, 3, generator=generator(4), dtype=torch.float64)
    torch.testing.assert_close(draw(density, noise), density.sample(50, seed=4), atol=1e-4, rtol=0)


def test_mixture_codes_are_the_densitys_own_draws():
    density = Mixture.fit(CODES, None, components=4)
    source = generator(4)
    component = torch.multinomial(density.weights, 50, replacement=True, generator=source)
    noise = torch.randn(50, 3, generator=source, dtype=torch.float64)
    middle = density.weights.cumsum(0) - density.weights / 2  # of the levels that choose a component
    noise = torch.cat([torch.special.ndtri(middle[component])[:, None], noise], 1)
    assert len(component.unique()) == 4
    torch.testing.assert_close(draw(density, noise), density.sample(50, seed=4), atol=1e-4, rtol=0)


def test_mixture_multiplies_no_batch_by_a_stack_of_matrices(run, exported):
    """OpenVINO refuses that for a batch of any size; see findings/openvino-product-with-a-stack.sh."""
    model = onnx.load(run.folder / "onnx" / "sampler-mixture.onnx")
    constants = {one.name: len(one.dims) for one in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type in ("MatMul", "Gemm")]
    assert products
    assert {constants[node.input[1]] for node in products} == {2}


def test_no_output_is_used_inside_and_no_number_is_cast(run, exported):
    """Converters to float16 need both; see findings/onnxconverter-float16-of-an-output-used-inside.sh."""
    for name in exported:
        graph = onnx.load(run.folder / "onnx" / name).graph
        outputs = {one.name for one in graph.output}
        assert not [node for node in graph.node if outputs.intersection(node.input)]
        casts = [attribute.i for node in graph.node if node.op_type == "Cast" for attribute in node.attribute]
        assert onnx.TensorProto.FLOAT not in casts


def test_mixture_chooses_by_its_weights():
    weights, zero = torch.tensor([0.2, 0.5, 0.3]).double(), torch.zeros(3, 1, 1).double()
    sampler = make_sampler(Mixture(weights, torch.arange(3.0).double()[:, None], zero))
    levels = (torch.arange(1000) + 0.5) / 1000
    codes = sampler(torch.stack([torch.special.ndtri(levels), torch.zeros(1000)], 1))
    assert codes[:, 0].int().bincount().tolist() == [200, 500, 300]


def test_second_stage_codes_are_the_densitys_own_draws():
    density = SecondStage.fit(CODES, None, hidden=8, depth=2, epochs=1)
    source = generator(4)
    noise = torch.cat([torch.randn(50, 3, generator=source) for _ in range(2)], 1)
    torch.testing.assert_close(draw(density, noise), density.sample(50, seed=4), atol=1e-4, rtol=0)


def test_samplers_of_every_density_and_prior():
    """Exported at once, and as exact far out as the library is."""
    small = {"mixture": {"components": 4}, "second-stage": {"hidden": 8, "depth": 2, "epochs": 1}}
    priors = {prior.title: prior for prior in (kind(3).prior() for kind in eae.BOTTLENECKS.values())}
    densities = {str(i): Prior(prior) for i, prior in enumerate(priors.values())}
    for name, kind in eae.DENSITIES.items():
        if kind.needs_codes and kind.sampler is not eae.Density.sampler:
            densities[name] = kind.fit(CODES, eae.BatchNorm(3).prior(), **small.get(name, {}))
    made = graphs.make_graphs(*build(), densities)
    drawn = [made[f"sampler-{name}"] for name in densities]
    columns = [graph.draw(1)[0].shape[1] for graph in drawn]
    # their codes: each graph decodes them as all others do
    parts = [(graph.module, lambda x, n=n: x[:, :n]) for graph, n in zip(drawn, columns, strict=True)]
    parts += [(Scores(kind(3).prior()), lambda x: x[:, :3]) for kind in (eae.L1Norm, eae.Cube)]
    run = session_of(parts, (max(columns),))
    noise = torch.randn(64, max(columns), generator=generator(4))
    far = torch.linspace(-9, 9, 301)[:, None] * torch.tensor([1.0, -1.0]).repeat(max(columns))[: max(columns)]
    for given in (noise[:1], noise, far):
        for i, ((module, part), found) in enumerate(zip(parts, run.run(None, {"x": given.numpy()}), strict=True)):
            with torch.no_grad():
                expected = module(part(given))
            tolerance = {"atol": 1e-5, "rtol": 1e-6} if i < len(priors) else {"atol": 1e-4, "rtol": 0}
            torch.testing.assert_close(torch.from_numpy(found), expected, **tolerance)


class Scores(torch.nn.Module):
    """What a transport has on both sides of its map: codes of scores, and the scores of slightly smaller codes."""

    def __init__(self, prior):
        super().__init__()
        self.prior = prior

    def forward(self, scores):
        codes = self.prior.from_normal(scores.double())
        # a factor that float32 holds: the exporter rounds it
        return torch.cat([codes, self.prior.to_normal((1 - 2**-13) * codes)], 1).float()


def test_a_transport_to_the_sphere_is_not_exported():
    prior = UniformSphere(3)
    bottleneck = eae.Transported(eae.Sphere(3), GaussianTransport.fit(prior.sample((50,)), prior))
    with pytest.raises(InputError, match="to the uniform distribution on the sphere cannot be exported"):
        graphs.TracedTransport(bottleneck, torch.nn.Identity())


class Shells(eae.Density):
    """A custom density: a direction, then one of two radii."""

    name = "shells"

    def __init__(self, radii):
        self.radii = radii

    def sampler(self):
        return ShellSampler(self)


class ShellSampler(Sampler):
    def __init__(self, density):
        super().__init__(4, "the first value chooses a radius, the others the direction", radii=density.radii)

    def forward(self, noise):
        radius = torch.where(noise[:, :1] < 0, self.radii[0], self.radii[1])
        return radius * torch.nn.functional.normalize(noise[:, 1:], dim=1)


def test_a_custom_density_with_a_sampler_is_exported():
    noise = torch.tensor([[-1.0, 3.0, 4.0, 0.0], [1.0, 0.0, 0.0, -2.0]])
    codes = draw(Shells(torch.tensor([1.0, 5.0])), noise)
    torch.testing.assert_close(codes, torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.0, -5.0]]))


class Wider(Gaussian):
    """Draws otherwise than the sampler that it inherits."""

    name = "wider"

    def sample(self, n, *, seed=0):
        return 2 * super().sample(n, seed=seed)


class Silent(eae.Density):
    name = "silent"

    def sample(self, n, *, seed=0):  # noqa: ARG002
        return torch.zeros(n, 3)


@pytest.mark.parametrize("density", [Wider(torch.zeros(3), torch.eye(3)), Silent()], ids=lambda d: d.name)
def test_a_density_without_a_sampler_of_its_draws_is_refused(density, monkeypatch, tmp_path):
    sentence = rf"the density '{density.name}' cannot be exported to ONNX, since it has no method sampler\(\)"
    with pytest.raises(InputError, match=sentence):
        make_sampler(density)
    monkeypatch.setattr(eae.DENSITIES, "data", {**eae.DENSITIES.data, density.name: type(density)})
    with pytest.raises(InputError, match=sentence):
        writing.check_export("onnx", [density.name], tmp_path / "out")


def test_a_prior_without_draws_from_noise_is_refused():
    heavy = Independent(StudentT(torch.ones(3)), 1)
    with pytest.raises(InputError, match=r"the prior StudentT cannot be exported without a method from_noise"):
        make_sampler(Prior(heavy))


# the files of a run


def test_decoder_gives_the_images_of_sample(run, exported):
    codes = run.density("prior").sample(64, seed=3)
    decoder = onnxruntime.InferenceSession(run.folder / "onnx" / "decoder.onnx")
    images = 255 * decoder.run(None, {"codes": codes.numpy()})[0]
    # halves may be rounded either way
    sure = np.abs(images - np.floor(images) - 0.5) > 1e-3
    expected = run.sample(64, density="prior", seed=3).numpy()
    assert sure.mean() > 0.99
    assert np.array_equal(np.round(images).astype(np.uint8)[sure], expected[sure])


def test_encoder_gives_the_codes_of_images(run, exported):
    images = run.data.test.images[:30]
    encoder = onnxruntime.InferenceSession(run.folder / "onnx" / "encoder.onnx")
    codes = encoder.run(None, {"images": (images.numpy() / 255).astype(np.float32)})[0]
    torch.testing.assert_close(torch.from_numpy(codes), run.encode(images), atol=1e-4, rtol=0)


def test_metadata_say_what_goes_in_and_where_it_is_from(run, exported):
    samplers = [f"sampler-{density}.onnx" for density in ("prior", "gaussian", "mixture")]
    assert list(exported) == ["encoder.onnx", "decoder.onnx", *samplers]
    assert max(exported.values()) < 1e-4
    for name in exported:
        content = (run.folder / "onnx" / name).read_bytes()
        model = onnx.load_from_string(content)
        said = {entry.key: entry.value for entry in model.metadata_props}
        assert (
            said.items()
            >= {"recipe": "eae", "data": "digits", "library": f"entropic-ae {eae.__version__}"}.items()
        )
        assert said["weights_sha256"] == run.weights_sha256()
        assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
        assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "N"
        assert b".py" not in content  # nothing of the machine that it was made on
        if name == "sampler-prior.onnx":
            assert said["input.noise"].startswith("float32 (N, 8), independent standard normal values; ")
            assert said["density"] == "prior"
        if name == "encoder.onnx":
            assert said["input.images"] == (
                "float32 (N, 1, 8, 8), values in [0, 1], grey, rows, columns; pixels of 8 bits divided by 255"
            )


def test_documented_code_runs_without_the_library(run, exported, monkeypatch, capsys):
    run.export("safetensors")
    monkeypatch.chdir(run.folder.parent.parent)
    wanted = [{"numpy", "onnxruntime"}, {"json", "pathlib", "safetensors", "torch"}]
    for block, allowed in zip(BLOCKS, wanted, strict=True):
        nodes = list(ast.walk(ast.parse(block)))
        names = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        names |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        assert {name.split(".")[0] for name in names} == allowed
        found = {}
        exec(compile(block.replace("np.zeros(", "np.ones("), "export.md", "exec"), found)
        if "new" in found:
            assert found["new"].shape == (64, 1, 8, 8)
            ones = torch.ones(5, 1, 8, 8, dtype=torch.uint8)
            assert np.abs(found["reconstructions"].astype(int) - run.reconstruct(ones).numpy()).max() <= 1
    assert "standard normal" in capsys.readouterr().out


# safetensors


@pytest.mark.parametrize(
    ("network", "bottleneck"),
    [*((network, "identity") for network in NETWORKS), *(("mlp", name) for name in eae.BOTTLENECKS)],
)
def test_safetensors_are_read_by_the_documented_code(network, bottleneck, tmp_path, monkeypatch):
    model, shape = build(network, bottleneck)
    export_model(model, shape, tmp_path / "out", to="safetensors", settings={"width": 2})
    code = {}
    exec(compile(BLOCKS[1].partition("\n\n\npixels")[0], "export.md", "exec"), code)
    x, z = torch.rand(7, *shape, generator=generator(0)), torch.randn(7, 3, generator=generator(1))
    with torch.no_grad():
        torch.testing.assert_close(
            code["apply"](tmp_path / "out", "encoder", x), model.encode(x), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(
            code["apply"](tmp_path / "out", "decoder", z), model.decode(z), atol=1e-5, rtol=0
        )
    said = json.loads((tmp_path / "out" / "model.json").read_text())
    assert said["images"]["shape"] == list(shape)
    assert said["codes"]["shape"] == [3]
    assert said["settings"] == {"width": 2}
    used = set(re.findall(r'"op": ?"(\w+)"', json.dumps([said["encoder"], said["decoder"]])))
    assert set(said["operations"]) == used


def test_a_grid_of_codes_is_read_by_the_documented_code(tmp_path):
    changes = {"network": "grid", "grid": 2, "width": 2, "latent_dim": 12, "bottleneck": "binary"}
    model, _ = eae.configure(eae.RECIPES["ae"], eae.PRESETS["digits"], changes).build((1, 8, 8))
    export_model(model.eval(), (1, 8, 8), tmp_path / "out", to="safetensors")
    code = {}
    exec(compile(BLOCKS[1].partition("\n\n\npixels")[0], "export.md", "exec"), code)
    x, z = torch.rand(7, 1, 8, 8, generator=generator(0)), torch.randn(7, 12, generator=generator(1))
    with torch.no_grad():
        assert torch.equal(code["apply"](tmp_path / "out", "encoder", x), model.encode(x))
        torch.testing.assert_close(code["apply"](tmp_path / "out", "decoder", z), model.decode(z))


def test_a_model_that_several_processes_trained_is_described_alike(tmp_path):
    model, shape = build("conv", "batch-norm")
    export_model(model, shape, tmp_path / "one", to="safetensors")
    synchronise(model)
    export_model(model, shape, tmp_path / "several", to="safetensors")
    one, several = ((tmp_path / name / "model.json").read_bytes() for name in ("one", "several"))
    assert one == several


def test_safetensors_refuse_a_network_of_ones_own(tmp_path):
    model, shape = build()
    model.encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(30, 3))
    with pytest.raises(InputError, match=r"Sequential cannot be described for safetensors; .* export --to onnx"):
        export_model(model, shape, tmp_path / "out", to="safetensors")
    assert not list(tmp_path.iterdir())


class Bent(eae.Bottleneck):
    """A custom bottleneck: a scaled hyperbolic tangent, then a rotation."""

    def __init__(self, latent_dim):
        super().__init__(latent_dim)
        matrix = torch.linalg.qr(torch.randn(latent_dim, latent_dim, generator=generator(0)))[0]
        self.register_buffer("matrix", matrix)
        self.operations = [
            {"op": "normalise", "mean": torch.ones(latent_dim)},
            {"op": "tanh"},
            {"op": "affine", "scale": 2.0, "shift": 1.0},
            {"op": "multiply", "matrix": matrix},
            {"op": "normalise", "mean": torch.arange(float(latent_dim))},
        ]

    def forward(self, h):
        z = (2 * torch.tanh(h.float() - 1) + 1) @ self.matrix
        return eae.Code(z - torch.arange(float(self.latent_dim)))

    def describe(self):
        return self.operations


def test_a_custom_bottleneck_that_describes_itself_is_exported(tmp_path):
    model, shape = build()
    model.bottleneck = Bent(3)
    export_model(model, shape, tmp_path / "out", to="safetensors")
    code = {}
    exec(compile(BLOCKS[1].partition("\n\n\npixels")[0], "export.md", "exec"), code)
    x = torch.rand(7, *shape, generator=generator(0))
    with torch.no_grad():
        torch.testing.assert_close(code["apply"](tmp_path / "out", "encoder", x), model.encode(x))


class Halved(eae.Cube):
    """Computes something else than the description that it inherits."""

    def forward(self, h):
        return eae.Code(super().forward(h).z / 2)


class Mute(eae.Bottleneck):
    def forward(self, h):
        return eae.Code(h)


@pytest.mark.parametrize("kind", [Halved, Mute])
def test_a_bottleneck_without_a_description_of_its_codes_is_refused(kind, tmp_path):
    model, shape = build()
    model.bottleneck = kind(3)
    sentence = rf"{kind.__name__} cannot be exported to safetensors without a method describe\(\); define"
    with pytest.raises(InputError, match=sentence):
        export_model(model, shape, tmp_path / "out", to="safetensors")
    assert not list(tmp_path.iterdir())


def test_an_unknown_operation_is_refused(tmp_path):
    model, shape = build()
    model.bottleneck = Bent(3)
    model.bottleneck.operations = [{"op": "softplus"}]
    with pytest.raises(
        InputError, match=r"Bent\.describe\(\) has the operation 'softplus', expected one of affine"
    ):
        export_model(model, shape, tmp_path / "out", to="safetensors")


# places and errors


@pytest.fixture
def call(monkeypatch, capsys):
    """Run the command line in this process; return exit code, output and errors."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["entropic-ae", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = capsys.readouterr()
        return exit_.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture
def quick(monkeypatch):
    """Let an ONNX file be a few bytes, and its comparison a figure."""
    monkeypatch.setattr(writing, "onnx_files", lambda graphs, _: {name: name.encode() for name in graphs})
    monkeypatch.setattr(writing, "largest_difference", lambda *_: 2e-7)


def test_a_folder_in_place_of_the_format_is_refused(run):
    with pytest.raises(InputError, match=r"unknown format '.*deployed'; known: onnx, safetensors"):
        run.export(Path("deployed"))


def test_command_says_the_files_and_the_differences(call, run, quick, tmp_path):
    code, out, err = call(run.folder, "--densities", "prior,gaussian", "--out", tmp_path / "new")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        *(
            f"{tmp_path / 'new' / name}.onnx: largest difference from PyTorch 2.0e-07"
            for name in ("encoder", "decoder", "sampler-prior", "sampler-gaussian")
        ),
        "Compared by onnxruntime in batches of 1, 7, 64.",
    ]


def test_without_onnxruntime_nothing_is_compared(call, run, quick, tmp_path, monkeypatch):
    found = writing.find_spec
    monkeypatch.setattr(writing, "find_spec", lambda name: None if name == "onnxruntime" else found(name))
    code, out, _ = call(run.folder, "--densities", "prior", "--out", tmp_path / "new")
    assert code == 0
    assert out.splitlines()[-1] == (
        "Not compared with PyTorch, as onnxruntime is not installed; pip install 'entropic-ae[onnx]'."
    )


def test_own_place_is_replaced_and_another_refused(call, run, quick, tmp_path):
    place = run.folder / "safetensors"
    assert call(run.folder, "--to", "safetensors")[0] == 0
    assert call(run.folder, "--to", "safetensors")[0] == 0
    assert {path.name for path in place.iterdir()} == {"encoder.safetensors", "decoder.safetensors", "model.json"}
    code, _, err = call(run.folder, "--to", "safetensors", "--out", place)
    assert code == 2
    assert err == f"error: {place} exists and is not overwritten; give another place.\n"
    model, shape = build()
    export_model(model, shape, tmp_path, densities={"prior": Prior(model.bottleneck.prior())})
    (tmp_path / "notes.txt").write_text("mine")
    export_model(model, shape, tmp_path, overwrite=True)  # without the sampler, which would be out of date
    assert {path.name for path in tmp_path.iterdir()} == {"encoder.onnx", "decoder.onnx", "notes.txt"}


def test_a_file_that_differs_leaves_nothing_and_keeps_what_was(quick, tmp_path, monkeypatch):
    model, shape = build()
    export_model(model, shape, tmp_path / "out")

    def differs(*_):
        raise InputError("differs")

    monkeypatch.setattr(writing, "onnx_files", lambda graphs, _: dict.fromkeys(graphs, b"new"))
    monkeypatch.setattr(writing, "largest_difference", differs)
    for out in (tmp_path / "out", tmp_path / "other"):
        with pytest.raises(InputError, match="differs"):
            export_model(model, shape, out, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "encoder.onnx").read_bytes() == b"encoder"


def test_a_difference_is_found(run, exported):
    graph = graphs.make_graphs(run.model, run.shape, {})["decoder"]
    path = run.folder / "onnx" / "decoder.onnx"
    assert onnx_files.largest_difference(path, graph) < 1e-4
    shifted = graph._replace(answer=lambda z: (graph.answer(z)[0] + 2e-4,))
    with pytest.raises(
        InputError, match=r"decoder\.onnx differs from PyTorch by 2\.0e-04, expected at most 0\.0001"
    ):
        onnx_files.largest_difference(path, shifted)


class Directions(torch.nn.Module):
    """Codes by their lengths, with a guard that is too small for the exporter to keep."""

    def forward(self, z):
        return z / (z.norm(dim=1, keepdim=True) + 1e-9)


def test_a_guard_that_the_exporter_takes_away_is_told(tmp_path):
    model, shape = build()
    model.decoder = torch.nn.Sequential(Directions(), model.decoder)
    with pytest.raises(InputError, match=r"decoder\.onnx differs from PyTorch by nan, .* as clamp\(min=\.\.\.\)"):
        export_model(model, shape, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_part_without_a_value_at_zero_is_compared_elsewhere(tmp_path):
    model, shape = build()
    model.decoder = torch.nn.Sequential(Reciprocals(), model.decoder)
    export_model(model, shape, tmp_path / "out")
    assert (tmp_path / "out" / "decoder.onnx").is_file()


class Windows(torch.nn.Module):
    """Codes clamped to two windows, which the exporter makes one graph of with a value that nothing computes."""

    def forward(self, z):
        return z.clamp(min=-1).clamp(max=1) + z.clamp(min=-2).clamp(max=2)


def test_a_graph_that_is_not_valid_is_one_sentence(tmp_path):
    model, shape = build()
    model.decoder = torch.nn.Sequential(Windows(), model.decoder)
    with pytest.raises(InputError, match=r"makes a graph of the decoder that is not valid \(.+\); rewrite its"):
        export_model(model, shape, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Reciprocals(torch.nn.Module):
    """Codes by the squares of their lengths."""

    def forward(self, z):
        return z / (z**2).sum(1, keepdim=True)


def test_training_on_removes_the_exports_of_the_weights_before(tmp_path):
    options = {"set": SMALL, "limit": 200, "out": tmp_path / "run", "device": "cpu", "progress": False}
    eae.train("eae", "digits", epochs=1, **options).export("safetensors")
    with pytest.warns(UserWarning, match=r"decoder\.safetensors, encoder\.safetensors, model\.json in .* removed"):
        run = eae.train("eae", "digits", epochs=4, resume=True, **options)
    assert not any((run.folder / "safetensors").iterdir())
    assert run.export("safetensors")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--to", "onxx"], "unknown format 'onxx'; did you mean 'onnx'? Known: onnx, safetensors."),
        (["--densities", "prio"], "unknown density 'prio'; did you mean 'prior'?"),
        (
            ["--to", "safetensors", "--densities", "prior"],
            "safetensors hold no samplers, got densities; leave them out, or export --to onnx.",
        ),
        (["--out", "model.onnx"], "an export is a folder of several files, got model.onnx; give a name without"),
        (["--out", "taken"], "taken exists and is not overwritten; give another place."),
    ],
)
def test_bad_input_is_one_sentence(call, run, arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("taken").write_text("")
    code, out, err = call(run.folder, *arguments)
    assert code == 2
    assert err.startswith(f"error: {sentence}")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    assert out == ""


def test_missing_extra_is_one_sentence(call, run, monkeypatch, tmp_path):
    monkeypatch.setattr(writing, "find_spec", lambda _: None)
    code, _, err = call(run.folder, "--out", tmp_path / "new")
    assert code == 2
    needs = "export to ONNX needs onnx and onnxscript, which cannot be imported"
    assert err == f"error: {needs}; pip install 'entropic-ae[onnx]'.\n"
    assert call(run.folder, "--to", "safetensors", "--out", tmp_path / "new")[0] == 0  # which needs no extra


class Branching(torch.nn.Module):
    """A network whose operations depend on the values that it is given."""

    def forward(self, x):
        return x.exp() if x.sum() > 0 else x


def test_a_network_that_cannot_be_exported_is_named():
    model, shape = build()
    model.decoder = Branching()
    made = graphs.make_graphs(model, shape, {"prior": Prior(model.bottleneck.prior())})
    with pytest.raises(
        InputError, match=r"^PyTorch cannot make a graph of the decoder \(.+\); rewrite its forward"
    ):
        onnx_files.onnx_files(made, ABOUT)


def test_weights_beyond_the_format_are_refused(monkeypatch):
    model, shape = build()
    monkeypatch.setattr(onnx_files, "_LIMIT", 100)
    with pytest.raises(InputError, match=r"an ONNX file holds at most 2 GiB, got .* export --to safetensors"):
        onnx_files.onnx_files(graphs.make_graphs(model, shape, {}), ABOUT)
