import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import test_training
import torch
from test_training import one_thread  # noqa: F401
from test_workers import is_running, wait_until

from noisyseg import losses, workers

STEPS = 30  # 10 epochs of 3


def train(name, pace_s):
    """A real training, slowed down, that notes the process of every step."""
    usual = losses.build("cross_entropy", dice=0.5)

    def loss(logits, labels):
        if torch.is_grad_enabled():
            with open(f"{name}.steps", "a") as file:
                print(os.getpid(), file=file)
            time.sleep(pace_s)
        return usual(logits, labels)

    test_training.run(Path(name), loss=loss, epochs=10, device="cpu")
    return name


def processes(name):
    """The processes that did the steps of a training, and how many steps each."""
    return Counter(map(int, Path(f"{name}.steps").read_text().split()))


def fail_when_exists(path):
    wait_until(Path(path).exists)
    raise ZeroDivisionError(path)


def sleep(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A scheduler on loopback, its file and process, with two worker processes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    file, common = "scheduler.json", ["--host", "127.0.0.1", "--no-dashboard"]
    commands = [["scheduler", "--port", "0", "--scheduler-file", file]]
    commands += 2 * [["worker", "--nthreads", "1", "--scheduler-file", file]]
    dask = [sys.executable, "-m", "dask"]
    started = [
        subprocess.Popen([*dask, *command, *common], start_new_session=True)
        for command in commands
    ]
    try:
        wait_until(Path(file).exists)
        yield SimpleNamespace(file=file, scheduler=started[0].pid)
    finally:
        for process in started:
            kill_group(process.pid)
            process.wait()


def kill_group(process):
    """Kill a process and all that it has started."""
    try:
        os.killpg(os.getpgid(process), signal.SIGKILL)
    except ProcessLookupError:
        pass


def kill_worker_of(name):
    """Kill the worker of a training, nanny included, once it is in its midst."""
    wait_until(lambda: Path(f"{name}.steps").exists() and processes(name).total() > 6)
    kill_group(min(processes(name)))


def test_killed_worker_is_replaced_and_the_weights_are_the_serial_ones(cluster):
    killer = threading.Thread(target=kill_worker_of, args=("a",), daemon=True)
    killer.start()
    jobs = [("a", 0.05), ("b", 0)]
    found = workers.run_parallel(
        train, jobs, workers=1, title="t", threads=1, scheduler=cluster.file
    )
    killer.join()
    assert found == ["a", "b"]
    assert len(processes("a")) == 2 and len(processes("b")) == 1
    assert processes("a").total() in (STEPS, STEPS + 1)  # resumed, one step lost
    workers.run_parallel(train, [("serial", 0)], workers=1, title="t", threads=1)
    serial = test_training.content(Path("serial"))
    assert all(test_training.content(Path(name)) == serial for name in "ab")


def test_error_of_a_job_is_raised_and_ends_the_others(cluster):
    with pytest.raises(ZeroDivisionError, match="asleep"):
        workers.run_parallel(
            _call,
            [(sleep, "asleep"), (fail_when_exists, "asleep")],
            workers=1,
            title="t",
            scheduler=cluster.file,
        )
    sleeper = int(Path("asleep").read_text())
    wait_until(lambda: not is_running(sleeper))


def _call(function, path):
    return function(path)


def test_lost_scheduler_is_an_error(cluster):
    job = cluster.scheduler, signal.SIGKILL
    with pytest.raises(ConnectionError, match=r"scheduler must stay, .*\.json"):
        workers.run_parallel(
            os.kill, [job], workers=1, title="t", scheduler=cluster.file
        )


def test_every_job_has_a_process_and_works_in_the_folder(tmp_path, monkeypatch):
    from distributed import LocalCluster

    monkeypatch.chdir(tmp_path)
    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        where = dict(workers=1, title="t", scheduler=cluster.scheduler_address)
        found = workers.run_parallel(os.getpid, 3 * [()], **where)
        assert len({*found, os.getpid()}) == 4
        assert workers.run_parallel(os.getcwd, [()], **where) == [str(tmp_path)]


def test_scheduler_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(workers, "CONNECT_S", 0.5)
    for scheduler, error in {
        "tcp://127.0.0.1:9": ConnectionError,
        "nowhere.json": FileNotFoundError,
    }.items():
        with pytest.raises(error, match=f"scheduler must .*{scheduler}"):
            workers.run_parallel(
                divmod, [(7, 2)], workers=1, title="t", scheduler=scheduler
            )


def test_explicit_scheduler_comes_before_the_environment(monkeypatch):
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    assert workers.scheduler_address() is None
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://a:1")
    assert workers.scheduler_address() == "tcp://a:1"
    assert workers.scheduler_address("b.json") == "b.json"
