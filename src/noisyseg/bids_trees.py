"""BIDS trees of simulated people: every subject by a job, whole or not at all."""

import json

from noisyseg.workers import run_parallel, whole_folder


def write_tree(folder, jobs, *, title, readme, tables, workers=1, digits=2):
    """Folder of a new BIDS tree, which gets its name when all is there.

    Parameters
    ----------
    folder : Path
        Must not exist yet.
    jobs : list of callable (folder, name) -> dict
        Each writes one subject and returns its row of ``participants.tsv``.
    title : str
        Name of the data set, also shown at the progress bar.
    readme : str
    tables : dict of str to LabelTable
        Derivative (``truth``, ``annotation``) to the table of its values.
    workers : int
        Processes; the files do not depend on it.
    digits : int
        Of the subjects' numbers.

    Raises
    ------
    FileExistsError
    """
    names = [f"sub-{k + 1:0{digits}d}" for k in range(len(jobs))]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(folder) as part:
        tasks = [(job, part, name) for job, name in zip(jobs, names, strict=True)]
        rows = run_parallel(_do, tasks, workers=workers, title=title)
        _describe(part, title, tables)
        (part / "README").write_text(readme)
        lines = ["\t".join(rows[0])]
        lines += ["\t".join(str(v) for v in row.values()) for row in rows]
        (part / "participants.tsv").write_text("\n".join(lines) + "\n")
    return folder


def write_json(path, content):
    """Write a sidecar or description; its folder appears with it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def _do(job, part, name):
    return job(part, name)


def _describe(folder, title, tables):
    """The descriptions of a raw data set and of its derivatives."""
    about = {"Name": title, "BIDSVersion": "1.8.0"}
    write_json(folder / "dataset_description.json", about | {"DatasetType": "raw"})
    about |= {"DatasetType": "derivative", "GeneratedBy": [{"Name": "noisyseg"}]}
    for part, table in tables.items():
        home = folder / "derivatives" / part
        name = {"Name": f"{title}: {part}"}
        write_json(home / "dataset_description.json", about | name)
        table.write(home / "dseg.tsv")
