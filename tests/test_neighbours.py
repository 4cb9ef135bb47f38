"""Nearest training images, by hand, against a whole matrix of distances, and the known share of near-copies."""

import pytest
import torch

from entropic_ae.errors import InputError
from entropic_ae.metrics import near_copies, nearest_neighbours


def normal(n, dim, seed=0):
    return torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.uint8])
def test_nearest_neighbours_agree_with_a_matrix(kind):
    samples, training = ((20 * normal(n, 12, seed) + 100).to(kind) for n, seed in ((90, 0), (3000, 1)))
    found = nearest_neighbours(samples, training)
    distance = torch.cdist(samples.double(), training.double(), compute_mode="donot_use_mm_for_euclid_dist")
    assert torch.allclose(found.distances, distance.amin(1), rtol=1e-14)
    assert torch.equal(found.indices, distance.argmin(1))
    assert found.ties.sum() == (distance == distance.amin(1, keepdim=True)).sum()


def test_of_equal_neighbours_the_first_is_returned_and_all_are_counted():
    training = torch.tensor([[2.0], [-2.0], [2.0], [9.0]])
    found = nearest_neighbours([[0.0], [2.0], [8.0]], training)
    assert found.distances.tolist() == [2, 0, 1]
    assert found.indices.tolist() == [0, 0, 3]
    assert found.ties.tolist() == [3, 2, 1]


def test_many_rows_are_searched_in_blocks(monkeypatch):
    from entropic_ae.estimators import pairs

    samples, training = normal(70, 4), normal(50, 4, seed=1)
    whole = nearest_neighbours(samples, training)
    monkeypatch.setattr(pairs, "_CHUNK", 130)
    monkeypatch.setattr(pairs, "_GATHERED", 9)
    parts = nearest_neighbours(samples, training)
    assert torch.equal(parts.distances, whole.distances)
    assert torch.equal(parts.indices, whole.indices)


def test_one_in_a_hundred_held_out_images_counts_as_a_copy():
    training = normal(400, 6)
    shares = []
    for seed in range(1, 60):
        fresh, held_out = normal(398, 6, seed).split(199)
        found = near_copies(fresh, held_out, training)
        assert found.expected == 2 / 200
        shares.append(found.share)
    # the share has a standard deviation of 0.0099 in one comparison
    assert sum(shares) / len(shares) == pytest.approx(0.01, abs=3 * 0.0099 / 59**0.5)


def test_copies_are_found_among_samples():
    training, held_out, fresh = normal(1500, 6).split(500)
    samples = torch.cat([fresh[:300], training[:50], training[50:100] + 1e-3])
    found = near_copies(samples, held_out, training)
    assert found.exact == 50
    assert found.share == pytest.approx(100 / 400, abs=0.02)
    nearest = found.samples.distances.argsort()[:100]
    assert set(nearest.tolist()) == set(range(300, 400))
    assert torch.equal(found.samples.indices[300:], torch.arange(100))
    distances = torch.cdist(held_out.double(), training.double()).sort(1).values
    relative = distances[:, 0] / distances[:, 1:6].mean(1)
    assert found.threshold == pytest.approx(relative.sort().values[4].item())  # the 5th of 500


def test_far_samples_are_no_copies():
    training, held_out = normal(600, 6).split(300)
    assert near_copies(held_out + 50, held_out, training).share == 0


def test_near_copies_has_the_neighbours_of_a_search_for_one():
    """Ties too: of the nearest row, which stands three, and nine times, more than are searched."""
    training = torch.cat([normal(50, 3), normal(50, 3)[:1].repeat(2, 1), normal(50, 3)[1:2].repeat(8, 1)])
    samples, held_out = normal(20, 3, 1), normal(200, 3, 2)
    samples[:2] = training[:2] + 1e-3
    found, alone = near_copies(samples, held_out, training).samples, nearest_neighbours(samples, training)
    assert torch.equal(found.distances, alone.distances)
    assert torch.equal(found.indices, alone.indices)
    assert torch.equal(found.ties, alone.ties)
    assert alone.ties[:2].tolist() == [3, 9]


def test_changed_copies_are_found_where_a_change_moves_all_features():
    """A shift by a third of the usual nearest distance; by the distance alone none would be found."""
    training, held_out = normal(2000, 16).split(1500)
    offset = torch.full((16,), 0.55)
    found = near_copies(training[:300] + offset, held_out, training)
    assert found.share > 0.5
    assert (found.samples.distances < found.held_out.distances.sort().values[4]).double().mean() < 0.05
    with pytest.raises(InputError, match="around must be at least 1, got 0"):
        near_copies(training, held_out, training, around=0)


def test_held_out_copies_raise_the_expected_share():
    training, held_out = normal(600, 6).split(300)
    held_out[:30] = training[:30]
    found = near_copies(training[100:110], held_out, training)
    assert (found.threshold, found.expected, found.share, found.exact) == (0, 0.1, 1, 10)


def test_a_quantile_at_the_last_of_few_images():
    held_out = torch.arange(1.0, 100.0)[:, None]
    found = near_copies([[0.5], [1.0], [0.0]], held_out, [[0.0]])
    assert (found.threshold, found.expected) == (1.0, 0.01)
    assert found.share == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("held_out", "quantile", "message"),
    [
        (normal(98, 2), 0.01, "at least 99 held-out images, got 98"),
        (normal(98, 2), 0.0, "above 0 and below 1"),
        (normal(98, 3), 0.1, "sample and training features must have one width, got 3 and 2"),
        (normal(98, 2) / 0, 0.1, "sample features must be finite"),
    ],
)
def test_near_copies_refuses(held_out, quantile, message):
    with pytest.raises(InputError, match=message):
        near_copies(normal(5, 2), held_out, normal(5, 2), quantile=quantile)
