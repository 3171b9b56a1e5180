import numpy as np
import pytest
import torch
from test_training import Stop, StopAt, content, settings

from noisyseg import losses, networks, training
from noisyseg.patches import Case, Patches

SIZE = 4
NETWORK = dict(
    name="additive_unet", n_classes=3, image_size=8, in_channels=1, channels=[2, 4]
)


def case(name="a", cohort="one", shape=(8, 9, 10), labels=(1, 2), seed=0):
    """Noise whose first voxels have one label each; the others are unknown."""
    data = np.full(shape, 255, np.uint8)
    data.flat[: len(labels)] = labels
    images = np.random.default_rng(seed).random((1, *shape), np.float32)
    return Case(name, cohort, torch.tensor(images), torch.tensor(data))


def whole(name="a", cohort="one", seed=0):
    """Three labels everywhere, as bright as they are high."""
    data = np.random.default_rng(seed).integers(0, 3, (8, 9, 10)).astype(np.uint8)
    images = torch.tensor(data, dtype=torch.float32)[None]
    return Case(name, cohort, images, torch.tensor(data))


def patches(*cases, count=12, seed=0, size=SIZE):
    return Patches(cases, size, count, seed)


def test_cohorts_and_their_labels_have_equal_chances():
    """One cohort has one label of one voxel, the other two labels of very many."""
    many = torch.ones(16, 16, 16, dtype=torch.uint8)
    many[:8] = 2
    large = [Case(n, "large", many[None].float(), many) for n in "abc"]
    found = patches(*large, case("s", "small", labels=(7,)), count=2000, size=1)
    drawn = np.bincount(found.all().labels.flatten(), minlength=8)
    for label, share in {7: 1 / 2, 1: 1 / 4, 2: 1 / 4}.items():
        spread = np.sqrt(2000 * share * (1 - share))
        assert abs(drawn[label] - 2000 * share) < 4 * spread


def test_a_label_is_sought_in_the_cases_that_have_it():
    cases = [case("a", labels=(1, 2)), case("b", labels=(1,), seed=1)]
    found = patches(*cases, count=400, size=1).all()
    values = {
        label: {round(v, 5) for v in found.images[:, 0][found.labels == label].tolist()}
        for label in (1, 2)
    }
    assert len(values[1]) == 2 and len(values[2]) == 1


def test_patches_hold_their_voxel_even_in_a_corner_and_know_no_unknown():
    """The only known voxels are in corners: every patch is clipped there."""
    one = case(labels=())
    one.labels[0, 0, 0], one.labels[-1, -1, -1] = 1, 2
    images, labels = patches(one, count=40).batch(range(40), torch.device("cpu"))
    assert images.shape == (40, 1, 4, 4, 4) and labels.shape == (40, 4, 4, 4)
    assert ((labels != 255).sum((1, 2, 3)) == 1).all()
    for corner, value, place in ((slice(4), 1, 0), (slice(-4, None), 2, -1)):
        rows = labels[:, place, place, place] == value
        assert 5 < rows.sum() and torch.equal(
            images[rows][0], one.images[:, corner, corner, corner]
        )
    assert set(labels.unique().tolist()) == {1, 2, 255}


def test_the_drawn_voxel_is_in_the_middle_where_there_is_room():
    one = case(labels=())
    one.labels[4, 5, 5] = 1
    assert (patches(one).all().labels[:, 2, 2, 2] == 1).all()


def test_a_patch_depends_on_its_number_and_not_on_how_many_there_are():
    few, many = patches(whole(), count=5).all(), patches(whole(), count=50).all()
    assert torch.equal(few.images, many.images[:5])
    other = patches(whole(), count=5, seed=1).all()
    assert not torch.equal(few.images, other.images)
    again = patches(whole(), count=50).batch([3], torch.device("cpu"))[0]
    assert torch.equal(again[0], few.images[3])


def test_very_common_labels_are_remembered_by_some_voxels_of_their_own(monkeypatch):
    monkeypatch.setattr("noisyseg.patches.CENTRES", 50)
    found, again = (patches(whole(), size=1, count=500).all() for _ in range(2))
    assert torch.equal(found.images, again.images)
    assert np.bincount(found.labels.flatten()).min() > 120
    assert torch.equal(found.images[:, 0], found.labels.float())


def test_fingerprint_tells_data_labels_cohorts_names_and_draws_apart():
    brighter, relabelled = whole(), whole()
    brighter.images[0, 0, 0, 0] += 1
    relabelled.labels[0, 0, 0] = 255
    found = [
        patches(whole()), patches(brighter), patches(relabelled), patches(whole("b")),
        patches(whole(cohort="two")), patches(whole(), seed=1),
        patches(whole(), count=13), patches(whole(), size=2), patches(whole(), whole()),
    ]  # fmt: skip
    assert len({each.fingerprint() for each in found}) == len(found)
    assert patches(whole()).fingerprint() == found[0].fingerprint()


def test_cases_that_cannot_give_a_patch_are_refused():
    message = r"a of one must be at least 4 .* got \(8, 3, 10\); take smaller patches"
    with pytest.raises(ValueError, match=message):
        patches(case(shape=(8, 3, 10)))
    message = "b of two must have labels, got none that is known; leave it out"
    with pytest.raises(ValueError, match=message):
        patches(whole(), case("b", "two", labels=()))


def run(folder, loss=None, **change):
    """Patches of 8^3: at 2^3 bfloat16 convolutions on CPUs may learn from NaN."""
    model = networks.build(**NETWORK, rng=np.random.default_rng(0))
    return training.fit(
        model,
        loss or losses.build("cross_entropy", dice=0.5),
        patches(whole("a"), whole("b", "two", seed=1), size=8),
        patches(whole("c", seed=2), count=3, size=8).all(),
        settings(learning_rate=0.01, optimiser="adam", **change),
        folder,
        description={"network": NETWORK},
    )


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_with_patches_resumes_to_the_same_bytes(tmp_path, precision):
    run(tmp_path / "whole", precision=precision)
    with pytest.raises(Stop):
        run(tmp_path / "cut", StopAt(4), precision=precision)
    run(tmp_path / "cut", precision=precision)
    assert content(tmp_path / "whole") == content(tmp_path / "cut")


def test_history_has_the_dice_of_every_class(tmp_path):
    run(tmp_path, epochs=1)
    history = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)
    foreground = np.mean([history["dice_1"], history["dice_2"]])
    assert history["validation_dice"] == pytest.approx(foreground)
