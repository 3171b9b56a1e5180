import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from noisyseg import checkpoints, losses, networks, training
from noisyseg.batches import Plan
from noisyseg.settings import TrainingSettings

NETWORK = dict(
    name="transunet",
    n_classes=3,
    image_size=32,
    width=8,
    blocks=[1, 1, 1],
    hidden=16,
    mlp=16,
    heads=2,
    layers=1,
    bridge=8,
    decoder=[8, 8, 8, 8],
)
DESCRIPTION = {"network": NETWORK, "classes": ["background", "bar", "disc"]}


@pytest.fixture(autouse=True)
def one_thread():
    """Networks as small as these are slower on two threads, above all on a busy CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def settings(**change):
    usual = dict(epochs=3, batch_size=4, learning_rate=0.1, checkpoint_every_steps=1)
    return TrainingSettings(**usual | change)


def slices(n=10, seed=0):
    """Bars and discs of different brightness in noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32]
    labels = np.zeros((n, 32, 32), np.uint8)
    for label, (top, left) in zip(labels, rng.integers(4, 20, (n, 2)), strict=True):
        label[top : top + 6] = 1
        label[np.hypot(y - left - 6, x - left) < 5] = 2
    images = labels[:, None] / 2 + 0.1 * rng.standard_normal((n, 1, 32, 32))
    return training.Slices(torch.tensor(images).float(), torch.tensor(labels))


def run(
    folder, *, loss=None, data=None, description=DESCRIPTION, warmup=None, **change
):
    model = networks.build(**NETWORK, rng=np.random.default_rng(0))
    loss = loss or losses.build("cross_entropy", dice=0.5)
    return training.fit(
        model,
        loss,
        data or slices(),
        slices(3, seed=1),
        settings(**change),
        folder,
        description=description,
        warmup=warmup,
    )


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Stop(Exception):
    """Stands for the kill in tests that need no process."""


class StopAt(losses.Mixture):
    """The usual loss, until `step`; then the process 'dies'."""

    def __init__(self, step, usual=None):
        usual = usual or losses.build("cross_entropy", dice=0.5)
        super().__init__(usual, losses.build("cross_entropy"), 0)  # the same code
        self.calls = iter(range(step))

    def forward(self, logits, labels):
        if torch.is_grad_enabled() and next(self.calls, None) is None:
            raise Stop
        return self.first(logits, labels)


def test_training_learns_and_leaves_three_files(tmp_path):
    run(tmp_path, epochs=40, checkpoint_every_steps=None)
    assert set(content(tmp_path)) == {
        "weights.safetensors",
        "model.json",
        "history.csv",
    }
    history = np.genfromtxt(tmp_path / "history.csv", delimiter=",", names=True)
    assert list(history["epoch"]) == list(range(1, 41))
    assert history["validation_dice"][-1] > 0.8 > history["validation_dice"][0]
    assert history["train_loss"][-1] < 0.3 * history["train_loss"][0]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("channels_last", [True, False])
def test_two_trainings_give_the_same_bytes(tmp_path, precision, channels_last):
    for name in "ab":
        run(tmp_path / name, precision=precision, channels_last=channels_last)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_two_threads_repeat_their_bytes(tmp_path):
    torch.set_num_threads(2)
    run(tmp_path / "a", epochs=1)
    run(tmp_path / "b", epochs=1)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_seed_changes_the_weights(tmp_path):
    run(tmp_path / "a", seed=0)
    run(tmp_path / "b", seed=1)
    weights = [content(tmp_path / name)["weights.safetensors"] for name in "ab"]
    assert weights[0] != weights[1]


@pytest.mark.parametrize("step", [1, 3, 4])  # within an epoch, at its end, after it
@pytest.mark.parametrize("channels_last", [True, False])
def test_resumed_training_ends_with_the_same_bytes(tmp_path, step, channels_last):
    run(tmp_path / "whole", channels_last=channels_last)
    with pytest.raises(Stop):
        run(tmp_path / "cut", loss=StopAt(step), channels_last=channels_last)
    run(tmp_path / "cut", channels_last=channels_last)
    assert content(tmp_path / "whole") == content(tmp_path / "cut")


def test_adam_and_a_loss_that_learns_resume_to_the_same_bytes(tmp_path):
    def usual():
        return losses.build("t_loss", dice=0.5)

    run(tmp_path / "whole", loss=StopAt(99, usual()), optimiser="adam")
    with pytest.raises(Stop):
        run(tmp_path / "cut", loss=StopAt(4, usual()), optimiser="adam")
    run(tmp_path / "cut", loss=StopAt(99, usual()), optimiser="adam")
    assert content(tmp_path / "whole") == content(tmp_path / "cut")


AUGMENTATION = dict(rotation_deg=20, scaling=0.2, shift=0.1, contrast=0.2, noise=0.1)


@pytest.mark.parametrize("step", [1, 4])
def test_augmented_training_resumes_to_the_same_bytes(tmp_path, step):
    run(tmp_path / "whole", augmentation=AUGMENTATION)
    with pytest.raises(Stop):
        run(tmp_path / "cut", loss=StopAt(step), augmentation=AUGMENTATION)
    run(tmp_path / "cut", augmentation=AUGMENTATION)
    assert content(tmp_path / "whole") == content(tmp_path / "cut")


def test_augmentation_is_another_training(tmp_path):
    run(tmp_path / "plain", epochs=1)
    run(tmp_path / "turned", epochs=1, augmentation=AUGMENTATION)
    names = ("plain", "turned")
    plain, turned = (content(tmp_path / n)["weights.safetensors"] for n in names)
    assert plain != turned
    with pytest.raises(training.OtherRunError, match=r"training\.augmentation"):
        run(tmp_path / "plain", epochs=1, augmentation=AUGMENTATION)


def test_every_step_is_augmented_in_its_own_way():
    plan = Plan(settings(), 10)
    draws = [plan.rng(step).random(3).tolist() for step in (0, 1, 2, 1)]
    assert draws[1] == draws[3] and len({tuple(draw) for draw in draws}) == 3
    other = Plan(settings(seed=1), 10).rng(0).random(3).tolist()
    assert other != draws[0]


def test_a_training_without_validation_says_so(tmp_path):
    scores = training.validate(
        torch.nn.Conv2d(1, 3, 1), None, slices(2).none(), settings(), None
    )
    assert np.isnan([*scores.values()]).all() and len(scores) == 2
    assert slices(2).none().images.shape == (0, 1, 32, 32)


def run_anew(folder, *, loss=None, **change):
    model = networks.build(**NETWORK, rng=np.random.default_rng(0))
    usual = losses.build("cross_entropy", dice=0.5)
    return training.fit_anew(
        lambda: {"model": model, "loss": loss or usual},
        folder=folder,
        train=slices(),
        validation=slices(3, seed=1),
        settings=settings(epochs=1, **change),
        description=DESCRIPTION,
    )


def test_a_folder_of_other_inputs_is_trained_anew(tmp_path):
    run_anew(tmp_path / "run", learning_rate=0.05)
    run_anew(tmp_path / "run")
    run_anew(tmp_path / "run", loss=StopAt(0))  # it is finished
    run(tmp_path / "plain", epochs=1)
    assert content(tmp_path / "run") == content(tmp_path / "plain")


def test_a_loss_learns_along_with_the_network(tmp_path):
    loss = losses.build("t_loss")
    run(tmp_path, loss=loss)
    assert loss.log_nu.item() != 1.0
    learned = training.load(tmp_path).state_dict()
    assert not any("log_nu" in name for name in learned)


def test_warm_up_is_another_training_at_first_and_the_same_later(tmp_path):
    """All epochs of warm-up give the weights of the warm-up's own training."""
    main, first = losses.build("mean_absolute_error"), losses.build("cross_entropy")
    run(tmp_path / "first", loss=first)
    run(tmp_path / "main", loss=main)
    for epochs in (0, 1, 3):
        run(tmp_path / f"warm{epochs}", loss=main, warmup=(first, epochs))
    weights = {p.name: content(p)["weights.safetensors"] for p in tmp_path.iterdir()}
    assert weights["warm0"] == weights["main"] != weights["warm1"]
    assert weights["warm3"] == weights["first"] != weights["warm1"]


def test_resume_goes_on_instead_of_starting_again(tmp_path):
    with pytest.raises(Stop):
        run(tmp_path, loss=StopAt(5))
    with pytest.raises(Stop):
        run(tmp_path, loss=StopAt(3))  # steps 6 to 8 of 9
    run(tmp_path, loss=StopAt(1))
    assert (tmp_path / "weights.safetensors").exists()


def test_death_within_a_checkpoint_write_leaves_the_last_one(tmp_path, monkeypatch):
    run(tmp_path / "whole")
    replace, calls = os.replace, []

    def die_at_fourth(*paths):  # checkpoint, checkpoint, history, checkpoint
        calls.append(paths)
        if len(calls) == 4:
            raise Stop
        replace(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", die_at_fourth)
        with pytest.raises(Stop):
            run(tmp_path / "cut")
    assert list((tmp_path / "cut").glob("checkpoint.safetensors.*.partial"))
    run(tmp_path / "cut")
    assert content(tmp_path / "whole") == content(tmp_path / "cut")


def test_killed_process_resumes_with_the_same_bytes(tmp_path):
    run(tmp_path / "whole", epochs=12)
    script = (
        "import sys, pathlib, torch; sys.path.insert(0, sys.argv[1]);"
        "torch.set_num_threads(1); import test_training;"
        "test_training.run(pathlib.Path(sys.argv[2]), epochs=12)"
    )
    folder = tmp_path / "killed"
    here = os.path.dirname(__file__)
    process = subprocess.Popen([sys.executable, "-c", script, here, str(folder)])
    while not (folder / "history.csv").exists():  # the first epoch is over
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert (folder / "checkpoint.safetensors").exists()
    run(folder, epochs=12)
    assert content(tmp_path / "whole") == content(folder)


def test_finished_folder_is_returned_without_training(tmp_path):
    first = run(tmp_path)
    again = run(tmp_path, loss=StopAt(0))
    pairs = zip(first.parameters(), again.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(learning_rate=0.05), "training.learning_rate = 0.05, got 0.1"),
        (dict(data=slices(seed=9)), "data.train"),
        (dict(description=DESCRIPTION | {"loss": "ce"}), "loss = 'ce', got None"),
    ],
)
@pytest.mark.parametrize("finished", [True, False])
def test_folder_of_another_run_is_refused(tmp_path, finished, change, message):
    if finished:
        run(tmp_path)
    else:
        with pytest.raises(Stop):
            run(tmp_path, loss=StopAt(2))
    with pytest.raises(training.OtherRunError, match=message):
        run(tmp_path, **change)


def test_number_of_checkpoints_and_device_do_not_make_another_run(tmp_path):
    with pytest.raises(Stop):
        run(tmp_path, loss=StopAt(2))
    run(tmp_path, checkpoint_every_steps=7, device="cpu")
    run(tmp_path, checkpoint_every_s=1e9, checkpoint_every_steps=None)


def test_description_of_another_network_is_refused(tmp_path):
    other = {"network": NETWORK | {"hidden": 32}}
    with pytest.raises(ValueError, match=r"bridge\.0\.weight \(8, 32,.* another net"):
        run(tmp_path, description=other)
    with pytest.raises(ValueError, match="description must say the network"):
        run(tmp_path, description={})


def test_loaded_network_gives_the_same_logits(tmp_path):
    model, images = run(tmp_path), slices(2).images
    loaded = training.load(tmp_path)
    assert not loaded.training
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), model(images))
    assert training.describe(tmp_path)["classes"] == ["background", "bar", "disc"]


def test_weights_of_another_network_or_damaged_are_refused(tmp_path):
    run(tmp_path)
    path = tmp_path / "weights.safetensors"
    checkpoints.write_tensors(path, {"head.bias": torch.zeros(5)})
    with pytest.raises(ValueError, match="checkpoint of another network"):
        training.load(tmp_path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="whole safetensors file"):
        training.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="train first"):
        training.load(tmp_path / "nowhere")


def test_loss_that_is_not_finite_says_where(tmp_path):
    def loss(logits, labels):
        return logits.sum() * (float("nan") if len(labels) == 2 else 0)

    third = Plan(settings(), 10).batch(2).tolist()  # 4 + 4 + 2 slices
    place = rf"nan in epoch 1, step 3 at learning_rate 0\.0798, slices \[{third[0]}, "
    with pytest.raises(FloatingPointError, match=place):
        run(tmp_path, loss=loss)


def test_global_generators_stay_as_they_were(tmp_path):
    before = torch.random.get_rng_state()
    run(tmp_path, epochs=1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_schedule_is_the_published_polynomial():
    plan = Plan(settings(epochs=10, schedule_epochs=150, learning_rate=0.01), 40)
    assert plan.n_steps == 100
    assert plan.learning_rate(0) == 0.01
    assert plan.learning_rate(99) == pytest.approx(0.01 * (1 - 99 / 1500) ** 0.9)


def test_every_pass_sees_every_slice_once_in_its_own_order():
    plan = Plan(settings(steps_per_epoch=2), 10)  # an epoch is no whole pass
    first, second = (
        np.concatenate([plan.batch(step) for step in steps])
        for steps in (range(3), range(3, 6))
    )
    assert sorted(first) == sorted(second) == list(range(10))
    assert list(first) != list(second)
    assert plan.n_steps == 6


def test_validation_scores_by_hand():
    truth = torch.tensor([[[0, 1], [1, 2]]], dtype=torch.uint8).repeat(1, 16, 16)
    data = training.Slices(torch.zeros(1, 1, 32, 32), truth)
    always_one = torch.nn.Conv2d(1, 3, 1)
    always_one.weight.data.zero_()
    always_one.bias.data = torch.tensor([0.0, 1.0, 0.0])
    mean = losses.build("cross_entropy")
    cpu = torch.device("cpu")
    scores = training.validate(always_one, mean, data, settings(), cpu)
    assert scores["validation_dice"] == pytest.approx((2 * 0.5 / 1.5 + 0) / 2)
    z = np.log(2 + np.e)
    assert scores["validation_loss"] == pytest.approx(z - 0.5)


def test_slices_are_checked():
    images, labels = slices(2).images, slices(2).labels
    with pytest.raises(TypeError, match=r"labels uint8, got .* torch\.int64"):
        training.Slices(images, labels.long())
    with pytest.raises(ValueError, match=r"\(2, 1, 32, 32\) and \(1, 32, 32\)"):
        training.Slices(images, labels[:1])
    with pytest.raises(ValueError, match="images must be finite"):
        training.Slices(images / 0, labels)


def test_settings_are_strict():
    with pytest.raises(ValidationError, match="learning_rat"):
        settings(learning_rat=1)
    with pytest.raises(ValidationError, match="schedule_epochs must be at least"):
        settings(schedule_epochs=2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="cuda without a GPU; use auto or cpu"):
        training.choose_device("cuda")
