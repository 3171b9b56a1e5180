"""Work side by side in processes, and folders that appear only when whole."""

import contextlib
import multiprocessing
import os
import pickle
import platform
import shutil
import signal
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed, wait
from multiprocessing import forkserver
from pathlib import Path

from tqdm.auto import tqdm

CONNECT_S = 10.0  # how long a scheduler may take to answer
WATCH_S = 0.5  # how often a worker of a cluster asks whether its job is still wanted
FORKS = sys.platform == "linux"  # elsewhere system libraries do not survive a fork
LARGE = ("pandas", "scipy.ndimage", "scipy.stats", "torch")  # seconds to import
NETWORKS = (*LARGE, "monai.networks.nets", "torch._dynamo")  # and what trainings need


def run_parallel(function, jobs, *, workers, title, threads=None, scheduler=None):
    """`function(*job)` for every job in worker processes, here or on a cluster.

    Parameters
    ----------
    function : callable
        Importable by name; its arguments and result travel between processes.
    jobs : list of tuple
    workers : int
        Processes; 1 runs the jobs here. A cluster has as many as it has.
    title : str
        Shown at the progress bar.
    threads : int, optional
        Torch threads in each process; default torch is left alone.
    scheduler : str, optional
        Of a Dask cluster whose workers share this file system: its address
        (tcp://host:port) or the path of its scheduler file. Jobs wait for workers that
        have not arrived yet; the job of a lost worker starts again on another, so it
        must go on from what it finds in its folder, or begin anew.

    Returns
    -------
    list of results in the order of `jobs`

    Raises
    ------
    The first error of any job, when it ends; jobs that no worker has taken are dropped.
    """
    if scheduler is not None and jobs:
        return _run_on_cluster(function, jobs, scheduler, title, threads)
    if workers == 1 or len(jobs) < 2:
        set_threads(threads)
        return [function(*job) for job in tqdm(jobs, title, mininterval=1)]
    prepare([name for name in LARGE if name in sys.modules])
    context = multiprocessing.get_context("forkserver" if FORKS else "spawn")
    pool = ProcessPoolExecutor(workers, context, _start, (threads,))
    try:
        futures = [pool.submit(function, *job) for job in jobs]
        done = as_completed(futures)
        for future in tqdm(done, title, total=len(jobs), mininterval=1):
            future.result()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


def prepare(modules=NETWORKS):
    """Begin to import, in the background, what the workers of this process will need.

    They are forked from a process that has imported these modules once, and nothing of
    ours, so that they see our code as it is when they start. The first call decides;
    without any, `run_parallel` takes those of `LARGE` that are imported here.

    Parameters
    ----------
    modules : sequence of str
        Names; one that is not installed is left out.
    """
    if FORKS:
        multiprocessing.set_forkserver_preload(list(modules))
        forkserver.ensure_running()


def _start(threads):
    """Begin a worker: its threads, and a watch that ends it with its parent."""
    set_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    """Leave at once when the parent was killed: nobody may go on writing its files."""
    multiprocessing.parent_process().join()
    os._exit(1)


def scheduler_address(named=None):
    """The scheduler named in `compute`, else by $DASK_SCHEDULER_ADDRESS, else None."""
    return named or os.environ.get("DASK_SCHEDULER_ADDRESS") or None


def _run_on_cluster(function, jobs, scheduler, title, threads):
    """`function(*job)` for every job on a Dask cluster; leaving it drops the rest."""
    from distributed import CancelledError, as_completed

    with _connect(scheduler) as client:
        here = os.getcwd()
        futures = [
            client.submit(_run_on_worker, call, here, threads, pure=False)
            for call in (pickle.dumps((function, job)) for job in jobs)
        ]
        done = as_completed(futures, loop=client.loop)
        done = tqdm(done, title, total=len(jobs), mininterval=1)
        try:
            results = {future: future.result() for future in done}
        except CancelledError as error:
            raise ConnectionError(
                f"scheduler must stay, got no answer from {scheduler} any more; start "
                "it and its workers again, and the study: what is done is kept"
            ) from error
        return [results[future] for future in futures]


def _connect(scheduler):
    """Client of a scheduler that answers.

    Raises
    ------
    FileNotFoundError
        If there is no such scheduler file.
    ConnectionError
        If nobody answers within `CONNECT_S`.
    """
    from distributed import Client

    is_address = "://" in scheduler
    if not is_address and not Path(scheduler).is_file():
        raise FileNotFoundError(
            "scheduler must be an address tcp://host:port or the file of a scheduler, "
            f"got {scheduler!r}; start one: dask scheduler --scheduler-file {scheduler}"
        )
    where = {"address" if is_address else "scheduler_file": scheduler}
    try:
        return Client(**where, timeout=CONNECT_S, set_as_default=False)
    except OSError as error:
        raise ConnectionError(
            f"scheduler must answer, got nothing from {scheduler} within {CONNECT_S:g} "
            "s; start it, or unset compute.scheduler and DASK_SCHEDULER_ADDRESS"
        ) from error


def _run_on_worker(call, folder, threads):
    """One job on a worker of a cluster, in a process of its own.

    A new one, for a worker outlives the study that began it, and what it has imported
    and read may be out of date; and one that can be ended, which a thread cannot, when
    the job is given up: the study was stopped, another job failed, or the scheduler
    thinks this worker dead and has given the job to another. Where two have run for a
    moment all the same, files are replaced whole, and a training is the same bytes
    from whichever checkpoint.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    multiprocessing.current_process().daemon = False  # a nanny's child may have none
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, _start, (threads,)) as pool:
        process = pool.submit(os.getpid).result()
        future = pool.submit(_call_in_folder, folder, call)
        while not wait([future], WATCH_S).done:
            if not _is_wanted(worker, key):
                os.kill(process, signal.SIGKILL)
        return future.result()


def _is_wanted(worker, key):
    """Whether the scheduler still waits for a job that this worker executes."""
    task = worker.state.tasks.get(key)
    at_work = worker.status.name in ("running", "paused", "closing_gracefully")
    return at_work and task is not None and task.state == "executing"


def _call_in_folder(folder, call):
    """Result of a pickled call, made in the folder of the study."""
    try:
        os.chdir(folder)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder} must be on a file system that all workers share, got no such "
            f"folder on {platform.node()}; run the study in one that is"
        ) from error
    function, job = pickle.loads(call)
    return function(*job)


def set_threads(threads):
    """Fix the number of torch threads of this process; None leaves torch unloaded."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


@contextlib.contextmanager
def whole_folder(folder):
    """A folder that appears under its name only when the block ends without error.

    Parameters
    ----------
    folder : str or Path
        Must not exist yet.

    Yields
    ------
    Path of the folder to fill, beside `folder`
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(
            f"{folder} must not exist yet, got a folder; remove it to make it again"
        )
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def device(name):
    """`cpu` or `cuda`; `auto` takes a GPU when there is one.

    Raises
    ------
    ValueError
        If `cuda` is asked for and there is none.
    """
    import torch

    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ValueError("device must exist, got cuda without a GPU; use auto or cpu")
    return ("cuda" if there else "cpu") if name == "auto" else name
