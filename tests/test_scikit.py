"""The scikit-learn estimator: scikit-learn's own checks, and known answers on tables."""

import pickle
import random
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from entropic_ae import BOTTLENECKS, EntropicAutoencoder, InputError, knn_entropy
from entropic_ae.networks import ConvDecoder, ConvEncoder
from entropic_ae.scikit import _split

SMALL = {"hidden": 16, "epochs": 2, "random_state": 0}
FAST = {"epochs": 20, "learning_rate": 0.01}  # a third of the epochs that it has by itself
# those whose codes are no draws
DETERMINISTIC = sorted(name for name, kind in BOTTLENECKS.items() if not kind.has_posterior)


def rows(n=60, columns=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, columns))


def plane(n=400, columns=8, seed=0):
    """Rows whose columns are linear in two independent values, at different scales and places."""
    source = np.random.default_rng(seed)
    onto = source.normal(size=(2, columns))
    return 100 + source.normal(size=(n, 2)) @ onto * np.logspace(-3, 3, columns)


@pytest.fixture(scope="module")
def small():
    return EntropicAutoencoder(2, **SMALL).fit(rows())


@pytest.fixture(scope="module")
def on_a_plane():
    return EntropicAutoencoder(2, random_state=0, **FAST).fit(plane())


@parametrize_with_checks([EntropicAutoencoder(hidden=8, epochs=2)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_a_plane_is_reconstructed_from_two_values(on_a_plane):
    X = plane()
    again = on_a_plane.inverse_transform(on_a_plane.transform(X))
    explained = 1 - np.square(again - X).mean(0) / X.var(0)  # of each column, in its own units
    assert explained.min() > 0.95
    assert on_a_plane.score(X) == pytest.approx(explained.mean(), abs=1e-9)
    fresh = plane(800)[400:]
    assert on_a_plane.score(fresh) > 0.95


def test_score_is_one_less_the_error_in_units_of_the_training_rows(on_a_plane):
    X = plane()
    standard = StandardScaler().fit(X)
    Z = standard.transform(on_a_plane.inverse_transform(on_a_plane.transform(X)))
    errors = np.square(Z - standard.transform(X)).mean(1)
    np.testing.assert_allclose(on_a_plane.score_samples(X), 1 - errors, atol=1e-9)
    assert on_a_plane.score(X[:1]) == pytest.approx(1 - errors[0], abs=1e-9)


def test_score_samples_finds_the_row_that_is_off_the_plane(on_a_plane):
    X = plane()
    X[7, 3] += 5 * X[:, 3].std()
    assert on_a_plane.score_samples(X).argmin() == 7


def test_one_component_explains_at_least_nearly_what_the_first_principal_one_does():
    X = rows(400, 3) @ np.array([[3.0, 0, 0], [0, 1, 0], [2, 1, 1]])
    Z = StandardScaler().fit_transform(X)
    first = PCA(1).fit(Z).explained_variance_ratio_[0]
    assert EntropicAutoencoder(1, entropy=0, random_state=0, **FAST).fit(X).score(X) > first - 0.02


@pytest.mark.parametrize("kind", ["batch-norm", "whitening"])
def test_codes_of_the_training_rows_have_mean_0_and_variance_1(kind):
    model = EntropicAutoencoder(3, bottleneck=kind, **SMALL).fit(rows())
    z = model.transform(rows())
    np.testing.assert_allclose(z, model.embedding_, atol=1e-9)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(z.var(0, ddof=1), 1, rtol=1e-3)  # eps of the bottleneck
    if kind == "whitening":
        np.testing.assert_allclose(np.cov(z.T), np.eye(3), atol=1e-3)


def test_mean_absolute_codes_are_1_behind_the_l1_norm():
    z = EntropicAutoencoder(3, bottleneck="l1-norm", **SMALL).fit_transform(rows())
    np.testing.assert_allclose(np.abs(z).mean(0), 1, rtol=1e-3)


@pytest.mark.parametrize("kind", DETERMINISTIC)
def test_every_bottleneck_without_a_posterior_serves(kind):
    entropy = 0.1 if BOTTLENECKS[kind].bounds_entropy else 0
    model = EntropicAutoencoder(2, entropy=entropy, bottleneck=kind, **SMALL).fit(rows())
    assert model.sample(3).shape == (3, 4)


def test_the_term_raises_the_entropy_of_codes():
    # long tails, which a linear map keeps: of variance 1, such codes lie crowded near one corner
    t = np.random.default_rng(0).exponential(size=(300, 2)) ** 2
    X = np.concatenate([t, t @ rows(2, 2)], 1)
    options = {"epochs": 15, "learning_rate": 0.005, "random_state": 0}
    without, with_it = (
        knn_entropy(torch.from_numpy(EntropicAutoencoder(2, entropy=beta, **options).fit_transform(X))).item()
        for beta in (0, 0.5)
    )
    maximum = np.log(2 * np.pi * np.e)  # of two values with variance 1
    assert with_it > without + 1
    assert with_it < maximum + 0.35  # the estimate's error, and codes that keep apart more evenly than draws do


@pytest.fixture(scope="module")
def gaussian_table():
    X = rows(600, 3) @ np.array([[10.0, 8, 0], [0, 3, 0], [0, 0.5, 0.1]]) + [5, -300, 0]
    options = {"epochs": 30, "learning_rate": 0.007, "batch_size": 200}
    return X, EntropicAutoencoder(3, random_state=0, **options).fit(X)


@pytest.mark.parametrize("density", ["prior", "gaussian", "mixture"])
def test_samples_have_the_mean_and_the_covariance_of_the_data(density, gaussian_table):
    X, model = gaussian_table
    drawn = model.sample(20_000, density=density, random_state=1)
    standard = StandardScaler().fit(X)
    X, drawn = standard.transform(X), standard.transform(drawn)
    # The draws' own error is 0.01. The prior and the codes differ by what 600 rows leave open: a mean or a
    # covariance of so many is uncertain by 3 * sqrt(2 / 600) = 0.17 at most.
    np.testing.assert_allclose(drawn.mean(0), X.mean(0), atol=0.17)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(X.T), atol=0.17)


def test_without_the_entropy_the_prior_is_not_the_codes_distribution(gaussian_table):
    X, model = gaussian_table
    drawn = clone(model).set_params(entropy=0).fit(X).sample(20_000, random_state=1)
    correlations = np.corrcoef(drawn.T) - np.corrcoef(X.T)
    assert np.abs(correlations).max() > 0.2  # batch norm alone leaves the codes correlated, N(0, I) is not


def test_samples_follow_random_state(small):
    np.testing.assert_array_equal(small.sample(4), small.sample(4))
    np.testing.assert_array_equal(small.sample(4, random_state=3), small.sample(4, random_state=3))
    assert not np.array_equal(small.sample(4, random_state=3), small.sample(4))
    source = np.random.RandomState(3)
    assert not np.array_equal(small.sample(4, random_state=source), small.sample(4, random_state=source))
    fresh = clone(small).set_params(random_state=None).fit(rows())
    assert not np.array_equal(fresh.sample(4), fresh.sample(4))


def test_a_density_does_not_depend_on_the_call_that_asks_for_it_first(small):
    once, again = pickle.loads(pickle.dumps(small)), pickle.loads(pickle.dumps(small))
    once.sample(1, density="mixture", random_state=5)
    expected = again.sample(4, density="mixture", random_state=6)
    np.testing.assert_array_equal(once.sample(4, density="mixture", random_state=6), expected)


def test_same_random_state_same_model(small):
    again, other = clone(small).fit(rows()), clone(small).set_params(random_state=1).fit(rows())
    np.testing.assert_array_equal(again.transform(rows()), small.transform(rows()))
    assert not np.allclose(other.transform(rows()), small.transform(rows()))
    a, b = (clone(small).set_params(random_state=np.random.RandomState(0)).fit(rows()) for _ in range(2))
    np.testing.assert_array_equal(a.embedding_, b.embedding_)


@pytest.mark.parametrize("random_state", [0, None])
def test_global_random_states_are_left_alone(random_state):
    np.random.seed(1)
    torch.manual_seed(1)
    random.seed(1)
    before = np.random.get_state()[1].copy(), np.random.get_state()[2], torch.get_rng_state(), random.getstate()
    model = EntropicAutoencoder(2, **SMALL | {"random_state": random_state}).fit(rows())
    for density in ("prior", "gaussian", "mixture"):
        model.sample(3, density=density)
    model.transform(rows())
    after = np.random.get_state()[1], np.random.get_state()[2], torch.get_rng_state(), random.getstate()
    np.testing.assert_array_equal(after[0], before[0])
    assert after[1] == before[1]
    assert torch.equal(after[2], before[2])
    assert after[3] == before[3]


def test_silent_unless_verbose_and_no_file_is_left(tmp_path):
    script = (
        "import sys, numpy as np\n"
        "from entropic_ae import EntropicAutoencoder\n"
        "X = np.random.default_rng(0).normal(size=(60, 4))\n"
        "model = EntropicAutoencoder(hidden=8, epochs=2).fit(X)\n"
        "model.transform(X), model.sample(2, density='mixture'), model.score(X)\n"
        "print('verbose', file=sys.stderr)\n"
        "model.set_params(verbose=True).fit(X)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == ""
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["verbose", "epoch", "epoch"], done.stderr
    assert list(tmp_path.iterdir()) == []


def test_pickled_with_its_outputs(small):
    small.sample(2, density="gaussian")
    again = pickle.loads(pickle.dumps(small))
    np.testing.assert_array_equal(again.transform(rows()), small.transform(rows()))
    np.testing.assert_array_equal(again.sample(5), small.sample(5))
    assert again.score(rows()) == small.score(rows())


def test_clone_is_unfitted_and_has_the_parameters(small):
    copy = clone(small)
    assert copy.get_params() == small.get_params()
    with pytest.raises(NotFittedError, match="not fitted yet"):
        copy.transform(rows())


def test_a_fit_that_fails_leaves_the_estimator_unfitted():
    model = EntropicAutoencoder(2, learning_rate=1e30, **SMALL)
    with pytest.raises(InputError, match="not finite in epoch"):
        model.fit(rows())
    with pytest.raises(NotFittedError):
        model.transform(rows())
    model.set_params(learning_rate=1e-3).fit(rows())
    with pytest.raises(InputError, match="not finite in epoch"):
        model.set_params(learning_rate=1e30).fit(rows(60, 7))
    for table in (rows(), rows(60, 7)):  # neither model's
        with pytest.raises(NotFittedError):
            model.transform(table)


def test_in_a_pipeline_and_a_grid_search():
    X = plane(120)
    y = StandardScaler().fit_transform(X)[:, 0]
    model = EntropicAutoencoder(2, epochs=12, learning_rate=0.01, random_state=0)
    pipeline = make_pipeline(model, LinearRegression())
    assert cross_val_score(pipeline, X, y, cv=2).min() > 0.8  # y is a function of the codes
    search = GridSearchCV(model, {"n_components": [1, 2]}, cv=2, refit=False).fit(X)
    assert search.best_params_ == {"n_components": 2}
    assert search.best_score_ > search.cv_results_["mean_test_score"][0] + 0.05


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_type_is_kept(dtype):
    X = rows().astype(dtype)
    model = EntropicAutoencoder(2, **SMALL).fit(X)
    z = model.transform(X)
    assert {z.dtype, model.inverse_transform(z).dtype, model.sample(2).dtype} == {np.dtype(dtype)}


def test_data_frames():
    X = pd.DataFrame(rows().astype(np.float32), columns=list("abcd"))
    X["e"] = np.arange(60)
    model = EntropicAutoencoder(2, **SMALL).set_output(transform="pandas").fit(X)
    z = model.transform(X)
    assert (
        list(z.columns) == list(model.get_feature_names_out()) == ["entropicautoencoder0", "entropicautoencoder1"]
    )
    assert list(model.feature_names_in_) == list("abcde")
    np.testing.assert_allclose(
        z, clone(model).fit(X.to_numpy()).set_output(transform="default").transform(X.to_numpy())
    )
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(X.rename(columns={"a": "z"}))


def test_samples_come_in_the_form_of_the_data():
    """A data frame for a data frame, or if set_output asks for one; the numbers are those of the array."""
    X = pd.DataFrame(rows().astype(np.float32), columns=list("abcd"))
    model = EntropicAutoencoder(2, **SMALL).fit(X)
    drawn = model.sample(5, random_state=1)
    assert list(drawn.columns) == list("abcd")
    plain = clone(model).fit(X.to_numpy())
    array = plain.sample(5, random_state=1)
    np.testing.assert_array_equal(drawn, array)
    assert drawn.dtypes.eq(np.float32).all()
    assert isinstance(array, np.ndarray)
    asked = plain.set_output(transform="pandas").sample(5, random_state=1)
    assert list(asked.columns) == ["x0", "x1", "x2", "x3"]
    np.testing.assert_array_equal(asked, array)
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(clone(model).fit(X.to_numpy()).sample(2), pd.DataFrame)


def test_samples_are_whole_and_within_bounds_only_if_asked():
    X = rows()[:, :2].copy()
    X = np.column_stack([X, np.arange(60) % 3, np.exp(2 * X[:, 0])])  # whole numbers; a column bounded by 0
    model = EntropicAutoencoder(2, **SMALL).fit(X)
    drawn = {
        key: model.sample(500, random_state=1, **dict.fromkeys(key, True))
        for key in ((), ("round",), ("clip",), ("round", "clip"))
    }
    assert (drawn[()] < X.min(0)).any()
    assert not np.array_equal(drawn[()][:, 2], np.rint(drawn[()][:, 2]))
    np.testing.assert_array_equal(drawn["round",][:, 2], np.rint(drawn[()][:, 2]))
    np.testing.assert_array_equal(np.delete(drawn["round",], 2, 1), np.delete(drawn[()], 2, 1))
    np.testing.assert_array_equal(drawn["clip",], drawn[()].clip(X.min(0), X.max(0)))
    assert set(drawn["round", "clip"][:, 2]) <= {0, 1, 2}


def test_constant_columns_take_no_part():
    X = rows()
    wide = np.insert(X, [1, 4], [0.1, -1e6], axis=1)
    narrow, model = (EntropicAutoencoder(2, **SMALL).fit(table) for table in (X, wide))
    np.testing.assert_array_equal(model.transform(wide), narrow.transform(X))
    for made in (model.sample(5), model.inverse_transform(model.transform(wide))):
        np.testing.assert_array_equal(made[:, [1, 5]], np.tile([0.1, -1e6], (len(made), 1)))
    wide[:, 1] = 7
    assert model.score(wide) == narrow.score(X)


@pytest.fixture(scope="module")
def digits():
    X = load_digits().data
    options = {"width": 4, "epochs": 12, "learning_rate": 0.005, "random_state": 0}
    return X, EntropicAutoencoder(8, image_shape=(1, 8, 8), **options).fit(X[:1400])


def test_images_have_one_unit_for_all_pixels_and_convolutions(digits):
    X, model = digits
    assert set(model.mean_) == {0}
    assert set(model.scale_) == {16}
    assert model.varies_.all()  # the corners too, which are always 0
    assert {type(module) for module in model.model_.modules()} >= {ConvEncoder, ConvDecoder}
    images = torch.from_numpy(X[1400:]).reshape(-1, 1, 8, 8) / 16
    encoder, decoder = model.model_.encoder[1], model.model_.decoder[0]
    z = model.model_.bottleneck(encoder(images)).z
    np.testing.assert_allclose(model.transform(X[1400:]), z, atol=1e-9)
    rebuilt = 16 * decoder(z).flatten(1)
    np.testing.assert_allclose(model.inverse_transform(z.numpy()), rebuilt, atol=1e-9)
    explained = 1 - np.square(rebuilt.numpy() - X[1400:]).mean() / X[:1400].var(0).mean()
    assert model.score(X[1400:]) == pytest.approx(explained, abs=1e-9)
    assert explained > 0.6
    drawn = model.sample(500, random_state=1)
    assert drawn.min() >= 0
    assert drawn.max() <= 16
    assert np.corrcoef(drawn.mean(0), X.mean(0))[0, 1] > 0.95


def test_an_estimator_of_images_is_cloned_and_pickled(digits):
    X, model = digits
    assert clone(model).get_params() == model.get_params()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).transform(X), model.transform(X))


def test_images_of_other_sides_are_padded_inside_and_cut_off_again():
    """Digits without their first and last row, 6 x 8, beside the same with the rows of zeros that are added."""
    images = load_digits().images[:300, 1:7]
    X = images.reshape(300, 48)
    model = EntropicAutoencoder(4, image_shape=(1, 6, 8), width=4, epochs=8, random_state=0).fit(X)
    codes = model.transform(X)
    assert model.inverse_transform(codes).shape == X.shape
    assert model.sample(7).shape == (7, 48)
    assert model.sample(7).min() >= 0 - 1e-9
    assert model.score(X) > 0.2
    padded = torch.from_numpy(np.pad(images, ((0, 0), (1, 1), (0, 0))) / 16)[:, None]
    hidden = model.model_.encoder[1](padded)
    assert np.allclose(model.model_.bottleneck(hidden).z.detach().numpy(), codes)
    whole = model.model_.decoder[0](torch.from_numpy(codes)).detach().numpy() * 16
    assert whole.shape == (300, 1, 8, 8)
    assert np.allclose(whole[:, 0, 1:7].reshape(300, 48), model.inverse_transform(codes))


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((1, 8, 16), r"image_shape=\(1, 8, 16\) asks for rows of 128 pixels, got 64 columns"),
        ((1, 136, 1), r"sides are at most 128, got image_shape=\(1, 136, 1\); resize"),
        ((8, 8), r"image_shape must be \(C, H, W\), three whole numbers, or None, got \(8, 8\)"),
        ("188", "image_shape must be"),
    ],
)
def test_shapes_that_images_cannot_have_are_refused(shape, sentence):
    rows = np.arange(272.0).reshape(2, 136) if shape == (1, 136, 1) else load_digits().data
    with pytest.raises(InputError, match=sentence):
        EntropicAutoencoder(2, image_shape=shape, epochs=1).fit(rows)


def test_images_that_are_all_alike_are_refused():
    with pytest.raises(
        InputError, match="at least 2 images whose pixels differ, got n_samples=3 with values from 5"
    ):
        EntropicAutoencoder(2, image_shape=(1, 8, 8), epochs=1).fit(np.full((3, 64), 5.0))


def test_a_column_that_is_constant_up_to_rounding_is_constant():
    X = rows()
    column = np.where(np.arange(len(X)) % 2, 0.3, 0.1 + 0.2)
    assert len(set(column)) == 2
    model = EntropicAutoencoder(2, **SMALL).fit(np.column_stack([X, column]))
    assert model.varies_.tolist() == [True] * 4 + [False]
    plain = EntropicAutoencoder(2, **SMALL).fit(X)
    assert model.score(np.column_stack([X, column + 0.01])) == plain.score(X)
    small = EntropicAutoencoder(2, **SMALL).fit(np.column_stack([X, 0.3 + 1e-12 * np.arange(len(X))]))
    assert small.varies_.all()


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e30, 1e200])
def test_units_do_not_matter(scale):
    X = rows()
    model, scaled = (EntropicAutoencoder(2, **SMALL).fit(table) for table in (X, X * scale))
    np.testing.assert_allclose(scaled.transform(X * scale), model.transform(X), atol=1e-4)
    np.testing.assert_allclose(scaled.sample(5) / scale, model.sample(5), rtol=1e-3)


def test_more_components_than_columns_and_two_rows():
    X = rows(50, 2)
    assert EntropicAutoencoder(5, **SMALL).fit(X).transform(X).shape == (50, 5)
    pair = EntropicAutoencoder(1, **SMALL).fit(X[:2])
    np.testing.assert_allclose(np.abs(pair.embedding_), np.sqrt(0.5), rtol=1e-3)  # variance 1, divided by 2 - 1
    assert pair.sample(3, density="gaussian").shape == (3, 2)


def test_epochs_follow_the_number_of_rows():
    assert EntropicAutoencoder()._settings(90).epochs == 100
    assert EntropicAutoencoder()._settings(1000).epochs == 50  # 10 minibatches each
    assert EntropicAutoencoder()._settings(1_000_000).epochs == 10


def test_a_tenth_of_many_rows_is_held_out():
    table = torch.arange(1500.0)[:, None]
    train, held = _split(table, 0.1, seed=0)
    assert len(held) == 150
    assert held.std() > 300  # of rows everywhere: the end of a sorted table has 43, the whole 433
    assert torch.equal(torch.cat([train, held]).sort(0).values, table)
    few = table[:999]
    assert all(torch.equal(part, few) for part in _split(few, 0.1, seed=0))


def test_history_has_a_row_an_epoch(small):
    assert [row["epoch"] for row in small.history_] == [1, 2]
    assert {"train_squared_error", "validation_negative_entropy", "entropy"} <= small.history_[0].keys()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_components": 0}, "n_components must be a whole number of at least 1, got 0."),
        ({"n_components": 2.5}, "n_components must be a whole number of at least 1, got 2.5."),
        ({"hidden": 0}, "hidden must be a whole number of at least 1, got 0."),
        ({"depth": True}, "depth must be a whole number of at least 1, got True."),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0."),
        ({"batch_size": 1}, "batch_size must be a whole number of at least 2, got 1."),
        ({"entropy": "high"}, "entropy must be a number, got 'high'."),
        ({"entropy": -1}, "entropy must be a finite weight of at least 0, got -1.0."),
        ({"learning_rate": 0}, "learning_rate must be a finite number above 0, got 0.0."),
        ({"validation_fraction": 1}, "validation_fraction must be at least 0 and below 1, got 1."),
        ({"random_state": -1}, "seed must be a whole number from 0 to 4294967295, got -1."),
        ({"device": "tpu"}, "device must be auto, cpu or cuda, got 'tpu'."),
        ({"bottleneck": "batchnorm"}, "unknown bottleneck 'batchnorm'; did you mean 'batch-norm'? Known: "),
        ({"bottleneck": "gaussian-posterior"}, "unknown bottleneck 'gaussian-posterior'; "),
        (
            {"bottleneck": "identity"},
            "NegativeEntropy needs a bottleneck that bounds the entropy (BatchNorm, ...)",
        ),
        (
            {"bottleneck": "whitening", "n_components": 60},
            "the bottleneck 'whitening' with n_components=60 expects minibatches of at least 61 rows, got 60; "
            "give more rows, a larger batch_size or fewer components.",
        ),
    ],
)
def test_parameters_out_of_range(options, sentence):
    with pytest.raises(InputError) as caught:
        EntropicAutoencoder(**SMALL | options).fit(rows())
    assert str(caught.value).startswith(sentence)


def test_data_that_cannot_be_fitted():
    model = EntropicAutoencoder(2, **SMALL)
    with pytest.raises(
        InputError, match=r"expects at least 2 rows, got n_samples=1, whose codes .*; give more rows"
    ):
        model.fit(rows(1))
    with pytest.raises(InputError, match="expects a column that varies, got 3 constant columns; give rows that"):
        model.fit(np.ones((10, 3)))


def test_what_a_fitted_model_refuses(small):
    with pytest.raises(InputError, match=r"expects codes \(N, 2\), got shape \(5, 3\); give what transform"):
        small.inverse_transform(rows(5, 3))
    with pytest.raises(InputError, match="n_samples must be a whole number of at least 1, got 0"):
        small.sample(0)
    with pytest.raises(InputError, match="unknown density 'gausian'; did you mean 'gaussian'"):
        small.sample(1, density="gausian")
