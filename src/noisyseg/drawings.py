"""Small drawings of values with their intervals, and the same in words.

A page sets the marks as lines of SVG, which follows the reader's light or dark and
needs no file; these functions say where they stand.
"""

import numpy as np

LEFT, RIGHT, ROW, FOOT = 128, 305, 15, 14  # of a drawing, in its own units


def chart(title, names, found):
    """Where the marks of some values stand, one below the other, around zero.

    Parameters
    ----------
    title : str
    names : dict of str to str
        Index in `found` to name in the drawing, in the order of the drawing.
    found : DataFrame
        With columns ours, low, high, published and verdict. A row without ours is left
        out, a published 0 is a claim of no change and no printed number.

    Returns
    -------
    dict with title, words (all values, for those who cannot see it), rows, ticks, foot
        and height; None when there is no value
    """
    chosen = found.reindex(list(names)).dropna(subset=["ours"])
    if chosen.empty:
        return None
    ends = {end: chosen[end].fillna(chosen["ours"]) for end in ("low", "high")}
    paper = chosen["published"].where(chosen["published"] != 0)
    chosen = chosen.assign(**ends, published=paper)
    ticks, place = _axis(chosen[["ours", "low", "high", "published"]].to_numpy(float))
    rows = list(zip(map(names.get, chosen.index), chosen.itertuples(), strict=True))
    foot = ROW * len(rows)
    return {
        "title": title,
        "words": f"{title}: {'; '.join(_words(*row) for row in rows)}.",
        "rows": [
            _mark(*row, place) | {"y": ROW * (number + 0.5)}
            for number, row in enumerate(rows)
        ],
        "ticks": [{"x": place(x), "text": number_text(round(x, 9))} for x in ticks],
        "foot": foot,
        "height": foot + FOOT,
    }


def _axis(values):
    """Round numbers within a range that holds all values and 0, and their places."""
    from matplotlib.ticker import MaxNLocator

    least, most = min(0.0, np.nanmin(values)), max(0.0, np.nanmax(values))
    margin = 0.04 * ((most - least) or 1.0)
    ticks = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(least, most)
    least, most = least - margin, most + margin
    scale = (RIGHT - LEFT) / (most - least)
    kept = [float(tick) for tick in ticks if least <= tick <= most]
    return kept, lambda value: round(LEFT + scale * (value - least), 1)


def _mark(name, row, place):
    printed = not np.isnan(row.published)
    return {
        "name": name,
        "text": _signed(row.ours).replace("-", "−"),
        "verdict": row.verdict,
        "paper": place(row.published) if printed else None,
        **{key: place(getattr(row, key)) for key in ("ours", "low", "high")},
    }


def _words(name, row):
    said = f"{name} {_signed(row.ours)} [{row.low:.3f}, {row.high:.3f}]"
    if np.isnan(row.published):
        return said
    return f"{said}, in the paper {_signed(row.published)}"


def _signed(value):
    return f"{round(value, 3) + 0.0:+.3f}"  # never -0.000


def number_text(value):
    """A number in at most three decimals; nothing for NaN.

    Examples
    --------
    >>> number_text(0.25), number_text(-6.0), number_text(6e-6), number_text(np.nan)
    ('0.25', '−6', '6e-06', '')
    """
    if np.isnan(value):
        return ""
    if value and abs(value) < 5e-4:
        return f"{value:.0e}"
    return f"{value:.3f}".rstrip("0").rstrip(".").replace("-", "−")


def finding_text(ours, low, high):
    """Our value and its interval, three decimals each; a count is a whole number.

    Examples
    --------
    >>> finding_text(0.65, 0.625, 0.68), finding_text(6.0, 6.0, 6.0)
    ('0.650 [0.625, 0.680]', '6')
    """
    if np.isnan(ours) or low == high:
        return number_text(ours)
    text = f"{ours:.3f}" if np.isnan(low) else f"{ours:.3f} [{low:.3f}, {high:.3f}]"
    return text.replace("-", "−")
