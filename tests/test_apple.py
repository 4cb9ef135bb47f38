"""Apple's GPU, which has no float64, without having one.

The stand-in is the CPU, taken for a device without float64: a dispatch mode refuses operations with a float64
result, except in what ``exact`` and ``as_double`` move to the CPU. So no float64 is left on the device in
training, validation and generation. It does not show that the device has every operation, or what it computes.
"""

from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from entropic_ae import PRESETS, RECIPES, InputError, arrays, configure, generation
from entropic_ae.bottlenecks import BOTTLENECKS
from entropic_ae.terms import TERMS
from entropic_ae.training import Execution, Settings, fit
from entropic_ae.transports import TRANSPORTS


class NoDouble(TorchDispatchMode):
    allowed = False

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        double = any(isinstance(one, torch.Tensor) and one.dtype == torch.float64 for one in tree_leaves(found))
        assert self.allowed or not double, f"{function} gives float64 on a device that has none"
        return found


@pytest.fixture
def apple(monkeypatch):
    """The mode, with the CPU as the device; what is moved to the CPU may be float64."""
    mode = NoDouble()

    @contextmanager
    def elsewhere():
        before, mode.allowed = mode.allowed, True
        try:
            yield
        finally:
            mode.allowed = before

    on_cpu, as_double = arrays._on_cpu, arrays.as_double

    def moved(*arguments):
        with elsewhere():
            return on_cpu(*arguments)

    def double(x):
        with elsewhere():
            return as_double(x)

    monkeypatch.setattr(arrays, "_WITHOUT_DOUBLE", frozenset({"cpu"}))
    monkeypatch.setattr(arrays, "_on_cpu", moved)
    for module in ("generation", "metrics.images"):
        monkeypatch.setattr(f"entropic_ae.{module}.as_double", double)
    return mode


FINITE = {"terms": "squared_error+negative_discrete_entropy"}
SYSTEMS = [
    *({"bottleneck": name, **(FINITE if kind.is_discrete else {})} for name, kind in BOTTLENECKS.items()),
    *({"terms": f"squared_error+{name}"} for name in TERMS if name != "squared_error"),
]


@pytest.mark.parametrize("changes", SYSTEMS, ids=lambda one: next(iter(one.values())))
def test_no_float64_in_a_training_step_and_in_validation(changes, apple):
    recipe = "eae" if "terms" in changes or changes["bottleneck"] not in ("identity",) else "ae"
    try:
        model, objective = configure(RECIPES[recipe], PRESETS["mlp"], {"hidden": 8, **changes}).build((1, 8, 8))
    except InputError as error:
        pytest.skip(str(error))
    images = torch.rand(20, 1, 8, 8)
    for training in (True, False):
        model.train(training)
        with apple:
            loss, _ = objective(model, model(images))
        assert loss.dtype == torch.float32
        if training:
            loss.backward()  # goes back the way that the tensors came
    assert all(weights.grad is None or weights.grad.dtype == torch.float32 for weights in model.parameters())


def test_the_stand_in_notices_float64(apple):
    with apple, pytest.raises(AssertionError, match="gives float64"):
        torch.ones(1).double()
    with apple:
        assert arrays.exact(lambda x: x.double().sum().float())(torch.ones(2)) == 2


def test_sums_of_an_epoch_are_not_on_the_device():
    execution = Execution("mps")
    assert execution.device == "mps"
    assert not arrays.has_double(torch.device("mps"))
    with pytest.raises(
        InputError, match="precision 64 needs float64, which the device mps lacks; use --device cpu"
    ):
        Execution("mps", precision="64")
    with pytest.raises(InputError, match="a machine has one device mps, got 2 processes"):
        Execution("mps", devices=2)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has one")
def test_a_machine_without_one_says_so():
    with pytest.raises(InputError, match="PyTorch sees no Apple GPU; use --device cpu"):
        _ = Execution("mps").target
    model, objective = configure(RECIPES["ae"], PRESETS["mlp"], {"hidden": 4}).build((1, 8, 8))
    with pytest.raises(InputError, match="sees no Apple GPU"):
        fit(model, objective, torch.rand(8, 1, 8, 8), torch.rand(4, 1, 8, 8), Settings(epochs=1), device="mps")


@pytest.mark.parametrize("kind", ["mixture", "copula"])
def test_a_transport_stays_on_the_cpu(kind, apple):
    if kind not in TRANSPORTS:
        pytest.skip("another name")
    torch.manual_seed(0)
    model, _ = configure(RECIPES["bn-ae"], PRESETS["mlp"], {"hidden": 4, "latent_dim": 2}).build((1, 8, 8))
    transport = TRANSPORTS[kind].fit(torch.randn(500, 2), model.bottleneck.prior())
    moved = transport.to(torch.float32)
    with apple:
        codes = moved(torch.randn(5, 2))
        assert moved.inverse(codes).dtype == torch.float32
    assert {one.dtype for one in moved.buffers()} == {torch.float64}


def test_no_float64_in_generation(apple):
    model, _ = configure(RECIPES["bn-ae"], PRESETS["mlp"], {"hidden": 4}).build((1, 8, 8))
    images = torch.zeros(5, 1, 8, 8, dtype=torch.uint8)
    with apple:
        codes = generation.encode(model, images)
        assert generation.decode(model, codes).dtype == torch.uint8
    assert generation.reconstruction_errors(model, images).dtype == torch.float64  # on the CPU
