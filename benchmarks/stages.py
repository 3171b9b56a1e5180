"""How long the stages of a whole run took: from when each left its record.

    make repro && python benchmarks/stages.py

in a fresh clone: a stage that did not run in the last `make repro` has an old record,
and its time means nothing. Writes benchmarks/minutes.md, which the README shows.
"""

from pathlib import Path

import pandas as pd

from noisyseg import environment, params, provenance

TABLE = Path(__file__).with_name("minutes.md")
PARTS = {  # stages to a row of the table
    "atlas and software labels of the heads": ("atlas", "labels"),
    "labels made wrong: heads, torsos": ("noise", "contours"),
    "labels borrowed by registration": ("propagate",),
    "trainings": ("train",),
    "notebooks of the studies": ("study", "threshold", "ace", "mind", "cross"),
    "phantoms, claims, first hour, traces, front page": (
        "phantoms", "claims", "00_start_here", "trace", "report",
    ),
}  # fmt: skip


def stage_seconds():
    """Seconds by stage, in the order in which they ran; and of making the data."""
    times = sorted(p.stat().st_mtime for p in Path("data").rglob("*") if p.is_file())
    ends = {path.stem: path.stat().st_mtime for path in provenance.RECORDS.iterdir()}
    ends = dict(sorted(ends.items(), key=lambda pair: pair[1]))
    found, start = {"data": times[-1] - times[0]}, times[-1]
    for name, end in ends.items():
        found[name], start = end - start, end
    return found


def main():
    seconds = stage_seconds()
    rows = [("digital people", "data", seconds["data"])]
    for part, stages in PARTS.items():
        chosen = {k: s for k, s in seconds.items() if k.partition("@")[0] in stages}
        named = ", ".join(f"{k} {s / 60:.1f}" for k, s in chosen.items())
        rows.append((part, named, sum(chosen.values())))
    rows.append(("all", "", sum(seconds.values())))
    table = pd.DataFrame(rows, columns=["what", "stages, minutes", "minutes"])
    table["minutes"] = (table["minutes"] / 60).map("{:.1f}".format)
    about = environment.describe(params.load())
    processor = about.get("processor", "unknown processor")
    text = table.to_markdown(index=False, disable_numparse=True)
    TABLE.write_text(f"{text}\n\nOn {processor}.\n")
    print(TABLE.read_text())


if __name__ == "__main__":
    main()
