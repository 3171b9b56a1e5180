"""Copies of the notebooks to learn from and to teach with.

Cells carry tags: ``predict`` (a question before its answer), ``exercise`` (a task) and
``solution`` (what follows a task). The reader's copy has an empty cell in place of each
solution, the teacher's copy all cells. Neither has outputs.
"""

import copy
import hashlib
import json
from pathlib import Path

import nbformat

from noisyseg.reporting import write_text

NOTEBOOKS = Path("notebooks")
ANSWER = "# your answer"
WRITTEN = "noisyseg_written"  # in a copy's metadata: the hash of its cells as written


def write(out, notebooks=NOTEBOOKS):
    """Write the reader's and the teacher's copy of every notebook.

    Nobody's work is lost: a copy that was changed or run since is kept beside the new
    one as ``<name>.kept-<n>.ipynb``.

    Parameters
    ----------
    out : Path
        Gets the folders ``reader`` and ``teacher``; must lie in the project, whose
        data and reports the copies use.
    notebooks : Path

    Returns
    -------
    list of Path
        The changed copies that were kept, under their new names.
    """
    kept = []
    for path in sorted(Path(notebooks).glob("*.ipynb")):
        node = nbformat.read(path, as_version=4)
        try:
            copies = {"reader": for_reader(node), "teacher": for_teacher(node)}
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        for whom, made in copies.items():
            made.metadata[WRITTEN] = _hash(made)
            kept += _place(Path(out) / whom / path.name, made)
    return kept


def for_reader(node):
    """The notebook with an empty cell in place of each exercise's solution.

    Parameters
    ----------
    node : nbformat.NotebookNode

    Returns
    -------
    nbformat.NotebookNode
    """
    from nbconvert.preprocessors import TagRemovePreprocessor

    exercises(node)  # or a solution might be left in
    opened = for_teacher(node)
    cells = []
    for cell in opened.cells:
        cells.append(cell)
        if "exercise" in tags(cell):
            blank = nbformat.v4.new_code_cell(ANSWER, id=f"answer-{cell.id}")
            cells.append(blank)
    opened.cells = cells
    remover = TagRemovePreprocessor(remove_cell_tags={"solution"})
    return remover.preprocess(opened, {})[0]


def for_teacher(node):
    """The notebook with all its cells and no outputs."""
    from nbconvert.preprocessors import ClearOutputPreprocessor

    return ClearOutputPreprocessor().preprocess(copy.deepcopy(node), {})[0]


def exercises(node):
    """Every exercise of a notebook with the cells of its solution.

    Parameters
    ----------
    node : nbformat.NotebookNode

    Returns
    -------
    list of (cell, list of cells)

    Raises
    ------
    ValueError
        If a solution follows no exercise, or an exercise has no solution.
    """
    found, open_to_solve = [], False
    for cell in node.cells:
        if "exercise" in tags(cell):
            found.append((cell, []))
        elif "solution" in tags(cell) and not open_to_solve:
            raise ValueError(
                f"a cell tagged solution must follow an exercise, got {cell.source!r}; "
                "tag the exercise"
            )
        elif "solution" in tags(cell):
            found[-1][1].append(cell)
        open_to_solve = bool({"exercise", "solution"} & tags(cell))
    for task, solution in found:
        if not solution:
            raise ValueError(
                f"an exercise must have a solution, got none after {task.source!r}; "
                "add a cell tagged solution"
            )
    return found


def tags(cell):
    """Set of the tags of a cell."""
    return set(cell.metadata.get("tags", ()))


def _hash(node):
    """Hash of the sources and outputs of the cells of a notebook."""
    cells = [(cell.source, cell.get("outputs", [])) for cell in node.cells]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def _place(path, node):
    """Write a copy; a list with the new name of what was there before, if changed."""
    kept = []
    if path.exists():
        before = nbformat.read(path, as_version=4)
        if before.metadata.get(WRITTEN) != _hash(before):
            number = 1
            while (beside := path.with_suffix(f".kept-{number}.ipynb")).exists():
                number += 1
            kept.append(path.rename(beside))
    write_text(path, nbformat.writes(node) + "\n")
    return kept
