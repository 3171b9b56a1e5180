import numpy as np
import pandas as pd
import pytest

from noisyseg import crosstable, decisions, losses, volume


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize(
    "row", [{"name": "cross_entropy"}, {"name": "beta_cross_entropy", "beta": 0.7}]
)
def test_a_proper_loss_asks_for_the_share_itself(row, share):
    found = crosstable.minimiser(losses.build(**row), share)
    assert found == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.7])
def test_gce_asks_for_a_sharpened_share(share):
    """Its optimum is proportional to share^(1 / (1 - q)) (Lagrange)."""
    odds = (share / (1 - share)) ** (1 / 0.3)
    loss = losses.build("generalised_cross_entropy", q=0.7)
    found = crosstable.minimiser(loss, share)
    assert found == pytest.approx(odds / (1 + odds), abs=1e-3)


def test_soft_dice_asks_for_the_share_over_its_dice():
    """Of 2 p m / (p^2 + m) the highest is sqrt(m), at p = sqrt(m) = m / Dice."""
    loss = losses.build("soft_dice", class_weights=[0, 1])
    assert crosstable.minimiser(loss, 0.25) == pytest.approx(0.5, abs=1e-3)


def test_cuts_of_sure_probabilities_are_those_of_the_masks():
    labels = np.zeros((4, 4, 2), np.uint8)
    labels[1:3, 1:3], labels[0] = 1, 2
    prob = np.stack([(labels == value) for value in range(3)]).astype(np.float32)
    truth = volume.Volume(labels, np.eye(4))
    assert crosstable.oracle_cuts(prob[1:], truth) == [1, 1]
    assert (decisions.dice_optimal(prob) == labels).all()
    assert (decisions.dice_optimal(prob, [0.5, 0.5]) == labels).all()


def table(**values):
    """A long table of one structure: three cases, three seeds, a value for each arm."""
    return pd.DataFrame(
        [{"study": "cross", "arm": arm, "seed": seed, "fold": 0, "case": f"c{case}",
          "reference": "truth", "structure": name, "metric": "dice", "value": value}
         for arm, value in values.items() for seed in range(3) for case in range(3)
         for name in ("background", "disc")]
    )  # fmt: skip


def test_what_a_cut_gives_and_what_is_left_add_up():
    scores = table(ce=0.5, ce_star=0.7, dice=0.75, dice_star=0.75)
    means = crosstable.mean_over_structures(scores)
    parts = crosstable.explain(means, "dice", "ce").set_index("part")["difference"]
    assert parts["cut"] == pytest.approx(0.2) and parts["both"] == pytest.approx(0)
    assert parts["cut"] + parts["left"] == pytest.approx(parts["loss"])


def test_harm_is_what_wrong_labels_cost_against_the_truth():
    means = crosstable.mean_over_structures(table(ce=0.8, ce_swap=0.6))
    lost = crosstable.harm(means, "ce", "ce_swap")
    assert len(lost) == 9 and np.allclose(lost["value"], 0.2)


def test_the_background_is_no_structure():
    means = crosstable.mean_over_structures(table(ce=0.5))
    assert set(means["structure"]) == {"all"} and len(means) == 9
