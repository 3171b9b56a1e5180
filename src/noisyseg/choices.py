"""Names in errors: the known ones, the nearest right one, the first few of many."""

import difflib


def check_choice(name, value, known):
    """Refuse a value that is not among the known ones, naming the nearest.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> check_choice("reader", "bidz", ["bids", "camcan"])
    Traceback (most recent call last):
    ValueError: reader must be one of bids, camcan, got 'bidz'; did you mean 'bids'?
    """
    if value not in known:
        near = nearest(value, known) or "; choose one of these"
        names = ", ".join(str(k) for k in known) or "(none exist)"
        raise ValueError(f"{name} must be one of {names}, got {value!r}{near}")


def nearest(value, known):
    """``; did you mean 'x'?`` when a known name is near, else an empty text."""
    close = difflib.get_close_matches(str(value), map(str, known), n=1, cutoff=0.4)
    return f"; did you mean {close[0]!r}?" if close else ""


def listed(names, at_most=8):
    """The first names, and how many more there are.

    Examples
    --------
    >>> listed(["a", "b", "c"], at_most=2), listed([])
    ('a, b and 1 more', 'nothing')
    """
    names = [str(name) for name in names]
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return (", ".join(names[:at_most]) or "nothing") + more
