"""The map of codes: places and contours with known answers."""

import importlib.util
import math

import pytest
import torch
from sklearn.decomposition import PCA
from torch.distributions import Independent
from torch.distributions import Normal as TorchNormal

from entropic_ae.errors import InputError
from entropic_ae.evaluation import map_codes, map_methods
from entropic_ae.priors import Laplace, Normal, Uniform, UniformSphere


def codes(n=300, dim=5, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)) * torch.arange(1, dim + 1)


def lines(found, sigma):
    return [torch.tensor(line).T for line in found["contours"][str(sigma)]]


def test_places_are_those_on_the_principal_axes_and_contours_of_a_normal_prior_are_circles():
    z = codes() + 3
    found = map_codes(z, Normal.standard(5))
    pca = PCA(2).fit(z.numpy())
    places = torch.tensor([found["x"], found["y"]]).T
    expected = z @ torch.from_numpy(pca.components_).T  # about the prior, whose mean is the origin
    assert torch.allclose(places, expected, atol=1e-3)
    assert found["variance"] == pytest.approx(pca.explained_variance_ratio_.sum(), rel=1e-5)
    for sigma in (1, 2, 3):
        (circle,) = lines(found, sigma)
        assert torch.allclose(circle.norm(dim=1), torch.tensor(float(sigma)), atol=2e-4)


def test_contours_of_a_normal_prior_of_other_moments_are_its_ellipses():
    z = codes(dim=2)
    mean, scale = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 4.0])
    found = map_codes(z, Independent(TorchNormal(mean, scale), 1))
    axes = torch.from_numpy(PCA(2).fit(z.double().numpy()).components_)
    (ellipse,) = lines(found, 2)
    within = ((ellipse.double() @ axes - mean) / scale).norm(dim=1)
    assert torch.allclose(within, torch.full_like(within, 2.0), atol=1e-3)


def inside(points, line):
    """Whether points, (N, 2), are inside of a closed line: by the number of its sides to their right."""
    (x0, y0), (x1, y1) = line[:-1].T, line[1:].T
    x, y = points[:, :1], points[:, 1:]
    crossed = ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    return crossed.sum(1) % 2 == 1


@pytest.mark.parametrize("prior", [Laplace.standard(4), Uniform.standard(4), UniformSphere(6)])
def test_contours_of_other_priors_hold_as_much_as_those_of_a_normal_one(prior):
    z = codes(dim=prior.event_shape[0])
    found = map_codes(z, prior)
    torch.manual_seed(1)
    axes = torch.from_numpy(PCA(2).fit(z.double().numpy()).components_).float()
    drawn = prior.sample((20_000,)) @ axes.T
    for sigma in (1, 2, 3):
        within = sum(inside(drawn, line).int() for line in lines(found, sigma)) % 2
        assert within.double().mean().item() == pytest.approx(1 - math.exp(-(sigma**2) / 2), abs=0.03)


@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="needs umap-learn")
def test_umap_keeps_clusters_apart():
    z = torch.cat([codes(60) / 10, codes(60) / 10 + 20])
    found = map_codes(z, Normal.standard(5), method="umap")
    places = torch.tensor([found["x"], found["y"]]).T
    first, second = places[:60], places[60:]
    assert torch.cdist(first, second).min() > torch.cdist(first, first).median()
    assert found["variance"] is None


def test_what_has_no_map_is_refused():
    with pytest.raises(InputError, match="at least 3 codes"):
        map_codes(codes(2), Normal.standard(5))
    with pytest.raises(InputError, match="at least 2 dimensions"):
        map_codes(codes(dim=1), Normal.standard(1))
    with pytest.raises(InputError, match=f"by {' or '.join(map_methods())}, got 'tsne'; umap needs the package"):
        map_codes(codes(), Normal.standard(5), method="tsne")
