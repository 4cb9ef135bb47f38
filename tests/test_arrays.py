"""Arrays and what NumPy makes one of are taken for tensors, by every public function."""

import inspect
from dataclasses import is_dataclass

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch

import entropic_ae as eae
from entropic_ae import InputError
from entropic_ae.arrays import as_tensor

CODES = torch.rand(60, 4, generator=torch.Generator().manual_seed(0)).double()
IMAGES = torch.randint(256, (60, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
MODEL = eae.EAE((1, 8, 8), latent_dim=4, width=2)[0].eval()
PRIOR = eae.BatchNorm(4).prior()
# an argument of codes, features or images, by its name; the others of a public function that has one
DATA = {
    **dict.fromkeys(("z", "others", "x", "y", "real", "fake", "codes"), CODES),
    "posterior_std": CODES,
    **dict.fromkeys(("test_codes", "samples", "held_out", "training"), CODES),
    **dict.fromkeys(("images", "reconstructions", "start", "end"), IMAGES),
}
LABELS = torch.arange(60) % 3
OTHERS = {
    "model": MODEL, "prior": PRIOR, "labels": LABELS, "test_labels": LABELS, "statistic": eae.frechet_distance,
    "quantile": 0.05,
}  # fmt: skip
# names that hold no array of these, of public functions: paths, sources, settings
ELSEWHERE = {"fit", "evaluate", "load_features", "load_images", "train", "load"}


def functions():
    found = {}
    for name in eae.__all__:
        value = getattr(eae, name)
        if inspect.isfunction(value):
            found[name] = value
        elif (
            inspect.isclass(value)
            and issubclass(value, eae.Density)
            and not (
                value is eae.Density or value.is_discrete  # codes of an alphabet: see below
            )
        ):
            found[f"{name}.fit"] = value.fit
            if value.log_prob is not eae.Density.log_prob:
                found[f"{name}.log_prob"] = value.fit(CODES, PRIOR).log_prob
    return {
        name: function
        for name, function in found.items()
        if name not in ELSEWHERE and set(inspect.signature(function).parameters) & set(DATA)
    }


FUNCTIONS = functions()


def call(function, change):
    wanted = inspect.signature(function).parameters
    given = {name: change(value) for name, value in DATA.items() if name in wanted and name != "others"}
    if function is eae.sphere_entropy:
        given["z"] = change(torch.nn.functional.normalize(CODES, dim=1))
    if function is eae.spread:
        given = {name: change(IMAGES) for name in ("fake", "real")}
    given |= {name: value for name, value in OTHERS.items() if name in wanted}
    if "out" in wanted:
        return function(**given, out="grid.png", overwrite=True)
    if "epochs" in wanted:
        given["epochs"] = 1
    torch.manual_seed(0)
    result = function(**given)
    return result.state() if isinstance(result, eae.Density) else result


def same(a, b):
    if isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, equal_nan=True)
    elif is_dataclass(a):
        same(vars(a), vars(b))
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, tuple | list):
        for one, other in zip(a, b, strict=True):
            same(one, other)
    elif isinstance(a, float):
        assert a == pytest.approx(b, nan_ok=True)
    else:
        assert a == b


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arrays_and_lists_give_what_tensors_do(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function = FUNCTIONS[name]
    expected = call(function, lambda tensor: tensor)
    same(call(function, lambda tensor: tensor.numpy()), expected)
    same(call(function, lambda tensor: tensor.numpy()[::-1][::-1]), expected)
    frame = lambda tensor: pd.DataFrame(tensor.numpy()) if tensor.dim() == 2 else tensor.numpy()  # noqa: E731
    same(call(function, frame), expected)
    of_images = bool({"images", "start"} & set(inspect.signature(function).parameters))
    if of_images or function is eae.spread:  # a list of whole numbers is no list of bytes
        with pytest.raises(InputError, match="uint8"):
            call(function, lambda tensor: tensor.tolist())
    else:
        same(call(function, lambda tensor: tensor.tolist()), expected)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "bad",
    [
        "text",
        [[1.0], [1.0, 2.0]],
        np.array([["a", "b"]]),
        scipy.sparse.eye(5),
        None,
        object(),
        np.ma.masked_less(np.eye(5), 1),
    ],
    ids=["text", "ragged", "strings", "sparse", "none", "object", "masked"],
)
def test_what_is_no_array_is_refused_with_a_sentence(name, bad):
    if name == "Prior.fit" or (name == "active_codes" and bad is None):
        pytest.skip("the prior needs no codes")
    with pytest.raises(InputError, match="expects"):
        call(FUNCTIONS[name], lambda _: bad)


def test_the_known_functions_are_found():
    known = {
        "knn_entropy",
        "mmd2",
        "diagnose",
        "encode",
        "decode",
        "image_grid",
        "Gaussian.fit",
        "Mixture.log_prob",
    }
    assert known <= set(FUNCTIONS)


def test_a_tensor_keeps_its_gradient_and_an_array_is_copied():
    z = CODES.clone().requires_grad_()
    assert as_tensor(z, "x") is z
    array = np.zeros((2, 2))
    as_tensor(array, "x")[0, 0] = 1
    assert array[0, 0] == 0
    assert as_tensor(np.ones(2, np.longdouble), "x").dtype == torch.float64


def test_mmd2_refuses_what_is_not_finite():
    with pytest.raises(InputError, match="mmd2 expects finite samples, got NaN"):
        eae.mmd2(torch.full((5, 2), torch.nan), torch.zeros(5, 2))


@pytest.mark.parametrize("bottleneck", [eae.Sphere(4), eae.Cube(4), eae.BatchNorm(4)])
@pytest.mark.parametrize("shape", [(50, 5), (8, 6, 4)])
def test_bottlenecks_refuse_another_width_or_rank(bottleneck, shape):
    with pytest.raises(InputError, match=rf"{type(bottleneck).__name__}\(4\) expects \(N, 4\), got shape"):
        bottleneck(torch.randn(shape))


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((64, 64), r"images.reshape\(-1, 8, 8\), or give one image as images\[None\]"),
        ((64, 60), r"reshape them, or give one image as images\[None\]"),
        ((20, 16, 16, 4), "composite transparent images onto one colour"),
    ],
)
def test_arrays_of_other_shapes_have_their_remedy(shape, sentence):
    with pytest.raises(InputError, match=sentence):
        eae.load_images(np.zeros(shape, np.uint8))


def test_masked_pixels_are_refused():
    with pytest.raises(InputError, match="holds masked values, expected pixels; fill them"):
        eae.load_images(np.ma.masked_greater(IMAGES.numpy(), 99))


def test_a_density_of_an_alphabet_takes_arrays_and_lists():
    prior = eae.Binary(4).prior()
    codes = prior.sample((30,))
    small = {"width": 16, "epochs": 1}
    expected = eae.Autoregressive.fit(codes, prior, **small)
    for given in (codes.numpy(), codes.tolist()):
        found = eae.Autoregressive.fit(given, prior, **small)
        assert torch.equal(found.log_prob(given), expected.log_prob(codes))
