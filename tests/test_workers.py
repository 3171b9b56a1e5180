import operator
import os
import pathlib
import subprocess
import sys
import time

import pytest

from noisyseg import workers


def test_results_come_in_the_order_of_the_jobs():
    jobs = [(n, 1) for n in range(5)]
    found = workers.run_parallel(operator.add, jobs, workers=2, threads=1, title="t")
    assert found == [1, 2, 3, 4, 5]


def test_processes_and_one_process_agree():
    jobs = [(2, n) for n in range(3)]
    alone, both = (
        workers.run_parallel(operator.pow, jobs, workers=n, threads=1, title="t")
        for n in (1, 2)
    )
    assert alone == both == [1, 2, 4]


@pytest.mark.parametrize("count", [1, 2])
def test_the_first_error_is_raised(count):
    jobs = [(1, 1), (1, 0)]
    with pytest.raises(ZeroDivisionError):
        workers.run_parallel(
            operator.truediv, jobs, workers=count, threads=1, title="t"
        )


SLEEPER = """
import sys
sys.path.insert(0, {folder!r})
from noisyseg import workers
from sleeper import sleep
if __name__ == "__main__":
    workers.run_parallel(sleep, [("a",), ("b",)], workers=2, threads=1, title="t")
"""


def test_workers_end_with_a_killed_parent(tmp_path):
    (tmp_path / "sleeper.py").write_text(
        "import os, pathlib, time\n"
        "def sleep(name):\n"
        f"    part = pathlib.Path({str(tmp_path)!r}, name + '.part')\n"
        "    part.write_text(str(os.getpid()))\n"
        "    part.rename(part.with_suffix(''))\n"
        "    time.sleep(600)\n"
    )
    (tmp_path / "main.py").write_text(SLEEPER.format(folder=str(tmp_path)))
    parent = subprocess.Popen([sys.executable, tmp_path / "main.py"])
    wait_until(lambda: all((tmp_path / name).exists() for name in "ab"))
    children = [int((tmp_path / name).read_text()) for name in "ab"]
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(is_running(child) for child in children))


EDITED = """
import pathlib, sys
sys.path.insert(0, {folder!r})
from noisyseg import workers
if __name__ == "__main__":
    import job
    workers.prepare(["wave"])
    for text in ("'old'", "'new'", "'wave' in __import__('sys').modules"):
        pathlib.Path(job.__file__).write_text(f"def say(number):\\n    return {{text}}")
        found = workers.run_parallel(job.say, [(0,), (1,)], workers=2, title="t")
        print(*found)
"""


@pytest.mark.skipif(not workers.FORKS, reason="workers are spawned")
def test_workers_begin_with_what_was_prepared_and_with_our_code_as_it_is(tmp_path):
    (tmp_path / "job.py").write_text("def say(number): pass")
    (tmp_path / "main.py").write_text(EDITED.format(folder=str(tmp_path)))
    command = [sys.executable, "-B", tmp_path / "main.py"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told.splitlines() == ["old old", "new new", "True True"]


def wait_until(condition, seconds=60):
    for _ in range(seconds * 10):
        if condition():
            return
        time.sleep(0.1)
    raise TimeoutError(f"not true within {seconds} s")


def is_running(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    try:
        stat = pathlib.Path(f"/proc/{process}/stat").read_text()
    except OSError:  # it ended meanwhile, or there is no /proc
        return sys.platform != "linux"
    return stat.rsplit(")")[1].split()[0] != "Z"


def test_a_folder_appears_whole(tmp_path):
    with workers.whole_folder(tmp_path / "data") as part:
        (part / "a").write_text("a")
        assert not (tmp_path / "data").exists()
    assert (tmp_path / "data" / "a").read_text() == "a"


def test_a_failed_folder_leaves_nothing(tmp_path):
    with pytest.raises(OSError), workers.whole_folder(tmp_path / "data") as part:
        (part / "a").write_text("a")
        raise OSError("disk full")
    assert os.listdir(tmp_path) == []


def test_an_existing_folder_is_refused(tmp_path):
    refusal = pytest.raises(FileExistsError, match="must not exist yet")
    with refusal, workers.whole_folder(tmp_path):
        pass
