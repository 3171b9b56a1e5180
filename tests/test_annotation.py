import numpy as np
import pytest

from noisyseg import annotation

TASKS, NAMES = [["GM"], ["bone", "skin"]], ["background", "GM", "bone", "skin"]


def test_each_task_keeps_its_structures_and_withholds_the_rest():
    labels = np.array([0, 1, 2, 3], np.uint8)
    assert annotation.withhold(labels, 0, TASKS, NAMES).tolist() == [4, 1, 4, 4]
    assert annotation.withhold(labels, 1, TASKS, NAMES).tolist() == [5, 5, 2, 3]


def test_the_cases_take_turns():
    labels = np.array([1, 3], np.uint8)
    told = [annotation.withhold(labels, n, TASKS, NAMES).tolist() for n in range(4)]
    assert told[0] == told[2] != told[1] == told[3]


def test_the_true_class_is_always_in_the_set_of_its_label(rng):
    labels = rng.integers(0, 4, 50).astype(np.uint8)
    sets = annotation.label_sets(TASKS, NAMES)
    for turn in range(2):
        told = annotation.withhold(labels, turn, TASKS, NAMES)
        assert all(
            label in sets[number] for label, number in zip(labels, told, strict=True)
        )


def test_without_sets_what_is_withheld_is_background():
    told = annotation.withhold(np.array([0, 1, 2, 3], np.uint8), 0, TASKS, NAMES)
    assert annotation.as_background(told, len(NAMES)).tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("name", ["bonne", "background"])
def test_a_task_of_no_structure_is_refused(name):
    with pytest.raises(ValueError, match=f"must name structures.*{name}"):
        annotation.label_sets([[name]], NAMES)
