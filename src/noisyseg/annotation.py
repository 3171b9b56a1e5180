"""Labels of which each case tells a part only, as if cohorts had shared the work.

A task is a list of structures that one cohort annotates. The cases of a study are dealt
to its tasks in turn; in a case of task t a voxel of any other class, the background
included, is labelled "none of these", the number n_classes + t.
"""

import numpy as np


def label_sets(tasks, names):
    """The classes that each label can mean, as the losses of `labelsets` take them.

    Parameters
    ----------
    tasks : sequence of sequences of str
        The structures that each task annotates.
    names : sequence of str
        All classes, the background first.

    Returns
    -------
    list of list of int: one class for each class, then the rest of each task

    Raises
    ------
    ValueError
        If a task names no class of `names`, or the background.

    Examples
    --------
    >>> label_sets([["GM"], ["bone"]], ["background", "GM", "bone"])
    [[0], [1], [2], [0, 2], [0, 1]]
    """
    for name in (name for task in tasks for name in task):
        if name not in names[1:]:
            raise ValueError(
                f"tasks must name structures, {', '.join(names[1:])}, got {name!r}; "
                "correct it"
            )
    alone = [[number] for number in range(len(names))]
    return alone + [
        [number for number, name in enumerate(names) if name not in task]
        for task in tasks
    ]


def withhold(labels, turn, tasks, names):
    """Labels of one case as the annotators of its task leave them.

    Parameters
    ----------
    labels : uint8 array of any shape
        Numbers of `names`.
    turn : int
        Place of the case among the cases; its task is `turn` modulo their number.
    tasks, names
        As `label_sets`.

    Returns
    -------
    uint8 array of the same shape

    Examples
    --------
    >>> tasks, names = [["GM"], ["bone"]], ["background", "GM", "bone"]
    >>> [withhold(np.array([0, 1, 2]), turn, tasks, names).tolist() for turn in (0, 1)]
    [[3, 1, 3], [4, 4, 2]]
    """
    task = turn % len(tasks)
    lookup = np.arange(len(names), dtype=np.uint8)
    rest = label_sets(tasks, names)[len(names) + task]
    lookup[rest] = len(names) + task
    return lookup[labels]


def as_background(labels, n_classes):
    """Labels for a loss that knows no sets: "none of these" becomes the background.

    >>> as_background(np.array([2, 3, 1], np.uint8), 3)
    array([2, 0, 1], dtype=uint8)
    """
    return np.where(labels < n_classes, labels, 0).astype(np.uint8)
