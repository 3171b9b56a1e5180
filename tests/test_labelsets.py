import math

import pytest
import torch
import torch.nn.functional as F

from noisyseg import labelsets, overlap

CE = labelsets.label_set_cross_entropy
SETS = [[0], [1], [2], [3], [4], [0, 1, 2, 3]]  # bg, CSF, GM, WM, lesion, "no lesion"
EVERY = (
    labelsets.label_set_cross_entropy,
    labelsets.patch_literal_cross_entropy,
    labelsets.ignoring_cross_entropy,
    labelsets.marginal_dice,
    labelsets.leaf_dice,
)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 5, 6, 7, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(0, 6, (2, 6, 7), generator=generator)


def by_definition(logits, labels, sets):
    """-log of the summed softmax, pixel by pixel."""
    prob, total = logits.softmax(1), 0.0
    for place in torch.cartesian_prod(*map(torch.arange, labels.shape)).tolist():
        classes = sets[labels[tuple(place)]]
        total += -sum(prob[place[0], c, *place[1:]] for c in classes).log()
    return total / labels.numel()


@pytest.mark.parametrize("label, value", [(5, 0.35667), (4, 1.20397), (3, 1.38629)])
def test_the_papers_example(label, value):
    prob = torch.tensor([0.1, 0.2, 0.15, 0.25, 0.3])
    found = CE(prob.log()[None, :, None], torch.tensor([[label]]), sets=SETS)
    assert found.item() == pytest.approx(value, abs=1e-5)


def test_it_is_the_negative_log_of_the_summed_probability(batch):
    ours, theirs = CE(*batch, sets=SETS), by_definition(*batch, SETS)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    gradients = [torch.autograd.grad(v, batch[0])[0] for v in (ours, theirs)]
    torch.testing.assert_close(*gradients)


def test_gradients_in_float64(batch):
    logits, labels = batch
    assert torch.autograd.gradcheck(lambda z: CE(z, labels, sets=SETS), logits)


def test_without_conflict_it_is_cross_entropy(batch):
    logits, labels = batch[0], batch[1].clamp(max=4)
    found = CE(logits, labels, sets=SETS)
    torch.testing.assert_close(found, F.cross_entropy(logits, labels))


def test_a_label_of_all_classes_teaches_nothing(batch):
    logits, labels = batch
    found = CE(logits, torch.zeros_like(labels), sets=[range(5)])
    assert abs(found.item()) < 1e-12
    assert torch.autograd.grad(found, logits)[0].abs().max() < 1e-12


def test_a_lesion_free_patch_still_pushes_lesions_down(batch):
    logits, labels = batch[0], torch.full_like(batch[1], 5)
    push = torch.autograd.grad(CE(logits, labels, sets=SETS), logits)[0]
    assert (push[:, 4] > 0).all() and (push[:, :4] < 0).all()
    literal = labelsets.patch_literal_cross_entropy(logits, labels, sets=SETS)
    push = torch.autograd.grad(literal, logits)[0]
    assert (push[:, 4] < 0).all()  # by the letter, the lesion that is absent is allowed


def test_between_the_classes_of_a_set_nothing_is_said():
    """It depends on them through their summed probability alone."""
    logits = torch.tensor([1.0, 2.0, 0.5, -1.0, 0.3])
    other = logits[[2, 0, 3, 1, 4]]
    label = torch.tensor([[5]])
    values = [CE(z[None, :, None], label, sets=SETS) for z in (logits, other)]
    assert values[0].item() == pytest.approx(values[1].item(), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_next_to_impossible_sets_stay_exact(dtype):
    logits = torch.tensor([[-300.0, -310, -400, -350, 0]], dtype=dtype)[..., None]
    logits.requires_grad_()
    value = CE(logits, torch.tensor([[5]]), sets=SETS)
    value.backward()
    assert value.item() == pytest.approx(300 - math.log1p(math.exp(-10)), rel=1e-6)
    assert logits.grad[0, 4, 0].item() == pytest.approx(1)
    assert logits.grad[0, 0, 0].item() == pytest.approx(-1 / (1 + math.exp(-10)))


def test_ignoring_is_cross_entropy_of_what_has_one_class(batch):
    logits, labels = batch
    theirs = F.cross_entropy(logits, labels, ignore_index=5)
    ours = labelsets.ignoring_cross_entropy(logits, labels, sets=SETS)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("loss", [labelsets.marginal_dice, labelsets.leaf_dice])
def test_dice_losses_are_soft_dice_without_sets(batch, loss):
    logits, labels = batch[0], batch[1].clamp(max=4)
    theirs = overlap.soft_dice(logits, labels, smooth=0.0)
    ours = loss(logits, labels, sets=SETS, smooth=0.0)
    torch.testing.assert_close(ours, theirs, check_dtype=False)


def test_marginal_dice_by_hand():
    """One pixel "0 or 1" of p = (.5, .3, .2): both are taken as .4, wanted .5."""
    logits = torch.tensor([0.5, 0.3, 0.2]).log()[None, :, None]
    found = labelsets.marginal_dice(
        logits, torch.tensor([[0]]), sets=[[0, 1]], smooth=0.0
    )
    both = 1 - 2 * 0.4 * 0.5 / (0.4**2 + 0.5**2)
    assert found.item() == pytest.approx((both + both + 1) / 3, abs=1e-6)


def test_leaf_dice_by_hand():
    """Pixels "1" and "0 or 1" of p = (.5, .5): the second only adds below the line."""
    logits = torch.zeros(1, 2, 2)
    found = labelsets.leaf_dice(
        logits, torch.tensor([[1, 2]]), sets=[[0], [1], [0, 1]], smooth=0.0
    )
    assert found.item() == pytest.approx((1 + 1 - 1 / (0.5 + 1)) / 2)


@pytest.mark.parametrize("loss", EVERY)
def test_ignored_pixels_count_nowhere(batch, loss):
    logits, labels = batch
    kept = loss(logits[:1], labels[:1], sets=SETS)
    both = labels.clone()
    both[1] = 255
    torch.testing.assert_close(loss(logits, both, sets=SETS, ignore_index=255), kept)
    nothing = loss(logits, both.fill_(255), sets=SETS, ignore_index=255)
    assert torch.autograd.grad(nothing, logits)[0].abs().max() < 1e-12


@pytest.mark.parametrize("loss", EVERY)
def test_extreme_logits_give_no_nan(loss):
    logits = torch.tensor([1e4, -1e4, 0.0, 1e4, -1e4])[None, :, None].requires_grad_()
    for label in range(6):
        value = loss(logits, torch.tensor([[label]]), sets=SETS)
        assert (
            value.isfinite() and torch.autograd.grad(value, logits)[0].isfinite().all()
        )


@pytest.mark.parametrize("loss", EVERY)
def test_what_makes_no_sense_is_refused(batch, loss):
    logits, labels = batch
    with pytest.raises(ValueError, match=r"labels must be 0 to 4, got 5; add it to"):
        loss(logits, labels, sets=SETS[:5])
    with pytest.raises(
        ValueError, match=r"label 1 some of the classes 0 to 4, got \[\]"
    ):
        loss(logits, labels, sets=[[0], [], *SETS])
    with pytest.raises(ValueError, match=r"classes 0 to 4, got \[5\]; correct the"):
        loss(logits, labels, sets=[*SETS, [5]])
    with pytest.raises(ValueError, match="one label per pixel"):
        loss(logits, labels[:, :3], sets=SETS)
