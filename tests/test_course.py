"""Copies for readers and teachers, and what every notebook owes its readers."""

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from noisyseg import course

NAMES = sorted(path.stem for path in Path("notebooks").glob("*.ipynb"))


def read(name, folder="notebooks"):
    return nbformat.read(Path(folder) / f"{name}.ipynb", as_version=4)


CELLS = {name: read(name).cells for name in NAMES}


def cell(source, *tags, make=new_markdown_cell):
    return make(source, id=re.sub(r"\W", "-", source), metadata={"tags": list(tags)})


@pytest.fixture
def toy(tmp_path):
    """A folder with one notebook of one exercise, whose solution has two cells."""
    cells = [cell("prose"), cell("task", "exercise")]
    cells += [cell("1 + 1", "solution", make=new_code_cell), cell("two", "solution")]
    folder = tmp_path / "notebooks"
    folder.mkdir()
    nbformat.write(new_notebook(cells=[*cells, cell("end")]), folder / "toy.ipynb")
    return folder


def sources(path):
    return [cell.source for cell in nbformat.read(path, as_version=4).cells]


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    out = tmp_path_factory.mktemp("course")
    course.write(out)
    return out


def test_an_empty_cell_stands_for_the_whole_solution(toy, tmp_path):
    course.write(tmp_path, toy)
    assert sources(tmp_path / "reader/toy.ipynb") == [
        "prose", "task", course.ANSWER, "end",
    ]  # fmt: skip
    teacher = sources(tmp_path / "teacher/toy.ipynb")
    assert teacher == ["prose", "task", "1 + 1", "two", "end"]


def test_copies_have_no_outputs(toy, tmp_path):
    node = read("toy", toy)
    node.cells[2].outputs = [nbformat.v4.new_output("stream", text="2")]
    made = course.for_teacher(node)
    assert node.cells[2].outputs and not made.cells[2].outputs


def test_written_twice_they_are_the_same_bytes(toy, tmp_path):
    course.write(tmp_path, toy)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.ipynb")}
    assert course.write(tmp_path, toy) == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.ipynb")} == before


def test_a_copy_that_nobody_touched_is_written_over(toy, tmp_path):
    course.write(tmp_path, toy)
    node = read("toy", toy)
    node.cells[0].source = "better prose"
    nbformat.write(node, toy / "toy.ipynb")
    assert course.write(tmp_path, toy) == []
    assert sources(tmp_path / "reader/toy.ipynb")[0] == "better prose"


def test_a_readers_answers_are_kept_however_often(toy, tmp_path):
    reader = tmp_path / "reader" / "toy.ipynb"
    for number in (1, 2):
        course.write(tmp_path, toy)
        reader.write_text(reader.read_text().replace("# your answer", f"{number}"))
    kept = course.write(tmp_path, toy)
    assert kept == [reader.with_name("toy.kept-2.ipynb")]
    assert "1" in sources(reader.with_name("toy.kept-1.ipynb"))
    assert course.ANSWER in sources(reader)


def test_a_solution_without_an_exercise_is_refused(toy, tmp_path):
    node = read("toy", toy)
    node.cells.append(cell("secret", "solution"))
    nbformat.write(node, toy / "toy.ipynb")
    with pytest.raises(ValueError, match=r"toy.ipynb: .*must follow an exercise"):
        course.write(tmp_path, toy)


def test_an_exercise_without_a_solution_is_refused():
    node = new_notebook(cells=[cell("task", "exercise"), cell("end")])
    with pytest.raises(ValueError, match="must have a solution, got none after 'task'"):
        course.for_reader(node)


@pytest.mark.parametrize("name", NAMES)
def test_the_readers_copy_has_every_exercise_and_no_solution(name, copies):
    found = course.exercises(read(name))
    reader = sources(copies / "reader" / f"{name}.ipynb")
    solved = {cell.source for _, solution in found for cell in solution}
    assert solved.isdisjoint(reader)
    assert reader.count(course.ANSWER) == len(found)
    for task, _ in found:
        assert reader[reader.index(task.source) + 1] == course.ANSWER


@pytest.mark.parametrize("name", NAMES)
def test_the_teachers_copy_has_all_cells(name, copies):
    assert sources(copies / "teacher" / f"{name}.ipynb") == sources(
        f"notebooks/{name}.ipynb"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_three_to_five_exercises_in_order(name):
    tasks = [task.source for task, _ in course.exercises(read(name))]
    numbers = [re.match(r"\*\*Exercise (\d)\.\*\* ", task)[1] for task in tasks]
    assert 3 <= len(tasks) <= 5
    assert numbers == [str(i) for i in range(1, len(tasks) + 1)]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_asks_before_it_shows(name):
    cells = CELLS[name]
    asking = [i for i, cell in enumerate(cells) if "*Predict*:" in cell.source]
    assert asking == [i for i, c in enumerate(cells) if "predict" in course.tags(c)]
    assert asking
    for i in asking:  # what follows is hidden until it is run or opened
        after = cells[i + 1]
        assert after.cell_type == "code" or after.source.startswith("<details>")


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_finds_the_project_from_any_folder_below(
    name, tmp_path, monkeypatch
):
    (tmp_path / "params.yaml").touch()
    (tmp_path / "course/reader").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "course/reader")
    with_chdir = [c.source for c in CELLS[name] if "os.chdir" in c.source]
    (line,) = re.findall(r"^ *os\.chdir.*$", "\n".join(with_chdir), re.MULTILINE)
    exec(line, {"os": os, "Path": Path})
    assert Path.cwd() == tmp_path
