"""EM labeller: by hand, limits, laws."""

import numpy as np
import pytest
import torch

from noisyseg import labeller, markov, mixtures, warping
from noisyseg.labeller import Settings
from noisyseg.volume import Volume

TWO = Settings(parts=(1, 1), schedule=((0.0, 20),), final_blur_mm=0, bias_order=0)
BALLS = Settings(parts=(1, 1, 1, 1), schedule=((4.0, 6), (2.0, 6)), work_mm=4.0)
# background, core, dark shell (CSF-like), dark shell (bone-like)
RADII_VOX = (10.5, 8.5, 6.5)
T1, T2 = (0.02, 1.0, 0.2, 0.2), (0.02, 0.5, 1.0, 0.1)


def ball_head(values, rng, shift=0):
    """Image (24, 24, 24) of nested balls, 2 mm, and its classes."""
    distance = np.linalg.norm(np.indices((24,) * 3).T - 11.5 - shift, axis=-1).T
    truth = sum((distance < r).astype(int) for r in RADII_VOX)
    truth = np.array([0, 3, 2, 1])[truth]
    image = np.array(values)[truth] + 0.03 * rng.standard_normal(truth.shape)
    return Volume(image.astype(np.float32), np.diag([2.0, 2, 2, 1])), truth


def ball_priors(truth):
    """Blurred classes, (4, 24, 24, 24)."""
    one_hot = torch.from_numpy((truth == np.arange(4).reshape(-1, 1, 1, 1)) * 1.0)
    return warping.smooth(one_hot.float(), 3.0, (2.0,) * 3).numpy()


def dice(labels, truth, value):
    a, b = labels.data == value, truth == value
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def two_gaussians(n=4000):
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(0.2, 0.05, n), rng.normal(0.8, 0.1, 3 * n)])
    return torch.from_numpy(x[:, None].astype(np.float32))


def test_em_recovers_two_gaussians():
    x = two_gaussians()
    means, weights = torch.tensor([[0.4], [0.6]]), torch.tensor([0.5, 0.5])
    covariances = torch.full((2, 1, 1), 0.1)
    for _ in range(60):
        resp = mixtures.expectation(x, means, covariances, weights)
        means, covariances, weights = mixtures.maximisation(x, resp, smallest_sd=0)
    assert means.ravel().tolist() == pytest.approx([0.2, 0.8], abs=0.01)
    assert covariances.sqrt().ravel().tolist() == pytest.approx([0.05, 0.1], abs=0.01)
    assert weights.tolist() == pytest.approx([0.25, 0.75], abs=0.01)


def test_expectation_by_hand():
    x = torch.tensor([[0.0], [0.5], [1.0]])
    one = torch.ones(2, 1, 1)
    resp = mixtures.expectation(x, torch.tensor([[0.0], [1.0]]), one, torch.ones(2) / 2)
    expected = 1 / (1 + np.exp(-0.5))
    assert resp[0].tolist() == pytest.approx([expected, 0.5, 1 - expected], abs=1e-5)


def test_log_gaussians_agree_with_torch():
    generator = torch.Generator().manual_seed(0)
    x, means = torch.randn(50, 2, generator=generator), torch.tensor([[0.1, 0.4]] * 3)
    covariances = torch.tensor([[[0.3, 0.1], [0.1, 0.2]]] * 3)
    normal = torch.distributions.MultivariateNormal(means, covariances)
    expected = normal.log_prob(x[:, None]).T
    found = mixtures.log_gaussians(x, means, covariances)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_mrf_of_strength_zero_is_the_voxelwise_answer():
    unary = torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    found = markov.mean_field(unary, torch.ones(3, 3), (1, 1, 1), 0, 5)
    torch.testing.assert_close(found, torch.softmax(unary, 0))


def test_mrf_removes_a_lone_voxel_along_the_close_neighbours_first():
    unary = torch.zeros(2, 5, 5, 5)
    unary[0] = 2.0
    unary[:, 2, 2, 2] = torch.tensor([0.0, 1.0])
    costs = 1 - torch.eye(2)
    found = markov.mean_field(unary, costs, (1, 1, 1), 1.0, 5)
    assert found[0, 2, 2, 2] > 0.9
    unary[1, 2, 2, :] = 3.0  # a line along z survives where z neighbours are close
    near = markov.mean_field(unary, costs, (4, 4, 1), 1.0, 5)
    far = markov.mean_field(unary, costs, (1, 1, 4), 1.0, 5)
    assert near[1, 2, 2, 2] > far[1, 2, 2, 2]


def test_pair_costs_are_free_for_equals_and_dear_for_strangers():
    prior = torch.zeros(3, 6, 6, 6)
    for c in range(3):  # slabs: 0 touches 1, 1 touches 2, 0 never touches 2
        prior[c, 2 * c : 2 * c + 2] = 1
    costs = markov.pair_costs(prior)
    assert costs.diagonal().tolist() == [0, 0, 0]
    assert costs[0, 2] == pytest.approx(5) and costs[0, 1] < costs[0, 2]


def test_two_channels_resolve_what_one_cannot():
    rng = np.random.default_rng(0)
    t1, truth = ball_head(T1, rng)
    t2, _ = ball_head(T2, rng)
    priors = ball_priors(np.roll(truth, 1, axis=0))
    one = labeller.segment([t1], priors, settings=BALLS)
    two = labeller.segment([t1, t2], priors, settings=BALLS)
    for value in (2, 3):
        assert dice(two, truth, value) > dice(one, truth, value) + 0.02
    assert dice(two, truth, 2) > 0.95


def test_scaled_intensities_and_a_second_run_change_nothing():
    t1, truth = ball_head(T1, np.random.default_rng(0))
    priors = ball_priors(truth)
    first = labeller.segment([t1], priors, settings=BALLS)
    again = labeller.segment([t1], priors, settings=BALLS)
    scaled = labeller.segment([t1.with_data(t1.data * 512)], priors, settings=BALLS)
    assert np.array_equal(first.data, again.data)
    assert np.array_equal(first.data, scaled.data)
    assert first.data.dtype == np.uint8 and np.array_equal(first.affine, t1.affine)


def test_bias_field_is_recovered_on_a_ramp():
    t1, truth = ball_head((0.02, 1.0, 0.6, 0.4), np.random.default_rng(0))
    ramp = np.exp(np.linspace(-0.3, 0.3, 24)).reshape(-1, 1, 1)
    skewed = t1.with_data((t1.data * ramp).astype(np.float32))
    priors = ball_priors(truth)
    flat = Settings(**{**vars(BALLS), "bias_order": 0})
    bent = Settings(**{**vars(BALLS), "bias_order": 1})
    assert dice(labeller.segment([skewed], priors, settings=bent), truth, 2) > 0.9
    scores = [
        dice(labeller.segment([skewed], priors, settings=s), truth, 2)
        for s in (flat, bent)
    ]
    assert scores[1] > scores[0]


def test_the_atlas_follows_a_shifted_head():
    t1, truth = ball_head((0.02, 1.0, 0.6, 0.4), np.random.default_rng(0), shift=1.5)
    _, centred = ball_head(T1, np.random.default_rng(0))
    found = labeller.segment([t1], ball_priors(centred), settings=BALLS)
    assert min(dice(found, truth, c) for c in (1, 2, 3)) > 0.93


def test_background_lies_outside_only():
    image, truth = ball_head(T1, np.random.default_rng(0))
    image.data[10:13, 10:13, 10:13] = T1[0]  # a hole as dark as the air outside
    labels = labeller.segment([image], ball_priors(truth), settings=BALLS)
    assert (labels.data[truth == 0] == 0).mean() > 0.9
    assert (labels.data[9:14, 9:14, 9:14] > 0).all()


def test_shared_parts_become_their_weighted_mean_by_hand():
    mixture = mixtures.Mixture(
        torch.tensor([[0.0], [1.0], [4.0]]),
        torch.tensor([1.0, 1.0, 2.0]).reshape(3, 1, 1),
        torch.ones(3),
        torch.tensor([0, 1, 2]),
    )
    shared = mixtures.share_parts(mixture, torch.tensor([9.0, 3.0, 1.0]), ((1, 2),))
    assert shared.means.ravel().tolist() == [0, 1.75, 1.75]
    variance = 0.75 * (1 + 0.75**2) + 0.25 * (2 + 2.25**2)
    assert shared.covariances.ravel().tolist() == [1, variance, variance]


def test_a_class_that_the_atlas_lacks_is_never_given():
    t1, truth = ball_head(T1, np.random.default_rng(0))
    priors = ball_priors(truth)
    priors[2] = 0
    assert 2 not in labeller.segment([t1], priors, settings=BALLS).data


def test_bad_input_is_refused():
    t1, truth = ball_head(T1, np.random.default_rng(0))
    priors = ball_priors(truth)
    other = Volume(t1.data[:20], t1.affine)
    broken = t1.with_data(np.where(truth == 1, np.nan, t1.data))
    cases = [
        ([t1, other], priors, "channels\\[1\\] must have the shape"),
        ([broken], priors, "must be finite"),
        ([t1.with_data(np.ones_like(t1.data))], priors, "must vary"),
        ([t1], priors[:3], "priors must have shape"),
        ([t1], priors * 0, "priors must give"),
        ([t1], priors * np.nan, "priors must be finite"),
        ([], priors, "channels must hold"),
    ]
    for channels, prior, message in cases:
        with pytest.raises(ValueError, match=message):
            labeller.segment(channels, prior, settings=BALLS)
