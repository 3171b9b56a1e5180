"""Work side by side in processes, and folders that appear only when whole."""

import contextlib
import multiprocessing
import os
import shutil
import threading
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tqdm.auto import tqdm


def run_parallel(function, jobs, *, workers, title, threads=None):
    """`function(*job)` for every job in worker processes.

    Parameters
    ----------
    function : callable
        Importable by name; its arguments and result travel between processes.
    jobs : list of tuple
    workers : int
        Processes; 1 runs the jobs here.
    title : str
        Shown at the progress bar.
    threads : int, optional
        Torch threads in each process; default torch is left alone.

    Returns
    -------
    list of results in the order of `jobs`

    Raises
    ------
    The first error of any job; jobs not yet started are dropped.
    """
    if workers == 1 or len(jobs) < 2:
        set_threads(threads)
        return [function(*job) for job in tqdm(jobs, title, mininterval=1)]
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawn, _start, (threads,))
    try:
        futures = [pool.submit(function, *job) for job in jobs]
        done = as_completed(futures)
        for future in tqdm(done, title, total=len(jobs), mininterval=1):
            future.result()
        return [future.result() for future in futures]
    finally:
        pool.shutdown(cancel_futures=True)


def _start(threads):
    """Begin a worker: its threads, and a watch that ends it with its parent."""
    set_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    """Leave at once when the parent was killed: nobody may go on writing its files."""
    multiprocessing.parent_process().join()
    os._exit(1)


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
    """`cpu` or `cuda`; `auto` takes a GPU when there is one."""
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
