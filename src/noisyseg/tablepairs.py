"""Two versions of a table: rows paired by what names them, cells by their numbers.

Tables are DataFrames of text, as `read` gives them.
"""

import io
import re
from dataclasses import dataclass
from decimal import Decimal

import pandas as pd

# An integer is a count or a name, not a measured number: it must not move.
DECIMAL = re.compile(r"[-+]?\d+(?:\.\d+(?:e[-+]?\d+)?|e[-+]?\d+)")
_INTEGER = re.compile(r"[-+]?\d+")
_WORD = re.compile(r"[^\W\d_]{3,}")
_FLAGS = {"True", "False", ""}
_NEVER_KEYS = {"verdict"}


@dataclass(frozen=True)
class Pair:
    """Two versions of a table with equal rows and columns, and what only one has."""

    keys: list
    old: pd.DataFrame
    new: pd.DataFrame
    lost: list
    added: list


def read(text):
    """A table of text from CSV; an empty cell is an empty text."""
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)


def parse(text):
    """The text around the decimal numbers of a cell, and these numbers as text.

    A cell with a word of three letters or more is prose; its numbers are text, too.

    Examples
    --------
    >>> parse("0.827 [0.80, 0.87]")
    ('# [#, #]', ['0.827', '0.80', '0.87'])
    >>> parse("23 of 30"), parse("As in section 3.1")
    (('23 of 30', []), ('As in section 3.1', []))
    """
    around = DECIMAL.sub("#", text)
    return (text, []) if _WORD.search(around) else (around, DECIMAL.findall(text))


def last_digit(number):
    """What the last printed digit of a number counts.

    >>> last_digit("0.82"), last_digit("4.9e-05")
    (0.01, 1e-06)
    """
    return float(Decimal(1).scaleb(Decimal(number).as_tuple().exponent))


def column_unit(cells):
    """What the last digit of a column of plain numbers counts, 0 where there are none.

    >>> column_unit(["0.5", "0.25", "1"])
    0.01
    """
    plain = [last_digit(cell) for cell in cells if DECIMAL.fullmatch(cell)]
    return min(plain, default=0.0)


def key_columns(table):
    """The columns that name the rows of a table.

    Columns of words come first, as they stand, then those of numbers, the one with the
    fewest values first. A column that tells no more rows apart is no key, nor are
    verdicts and columns of true and false.

    Examples
    --------
    >>> key_columns(read("mean,arm,seed\\n0.1,a,0\\n0.2,a,1\\n0.3,b,0\\n"))
    ['arm', 'seed']
    """
    values = {name: set(table[name]) for name in table}
    able = [n for n in table if n not in _NEVER_KEYS and not values[n] <= _FLAGS]
    numbers = [name for name in able if all(map(_is_number, values[name]))]
    words = [name for name in able if name not in numbers]
    numbers.sort(key=lambda name: len(values[name]))
    codes = table.apply(lambda column: column.factorize()[0])
    keys, told = [], 1
    for name in words + numbers:
        found = len(codes[[*keys, name]].drop_duplicates())
        if found > told:
            keys, told = [*keys, name], found
    for name in keys[::-1]:
        others = [key for key in keys if key != name]
        if others and len(codes[others].drop_duplicates()) == told:
            keys = others
    return keys


def _is_number(text):
    return not text or _INTEGER.fullmatch(text) or DECIMAL.fullmatch(text)


def pair(old, new):
    """Pair the rows of two versions of a table by the keys of the old one.

    Parameters
    ----------
    old, new : DataFrame
        With the same columns, in any order. Bins of a histogram (columns ``bin`` and
        ``voxels``) that one of them lacks are there, and empty.

    Returns
    -------
    Pair
        Rows in the order of the old one; what was lost or added as tuples of keys.
    """
    keys = key_columns(old)
    old, new = (_indexed(table, keys) for table in (old, new[list(old)]))
    if {"bin", "voxels"} <= set(old):
        old, new = _with_bins_of(old, new), _with_bins_of(new, old)
    common = old.index[old.index.isin(new.index)]
    lost = [key[:-1] for key in old.index if key not in new.index]
    added = [key[:-1] for key in new.index if key not in old.index]
    return Pair(keys, old.loc[common], new.loc[common], lost, added)


def _indexed(table, keys):
    """The table under its keys; rows with the same keys are numbered."""
    number = table.groupby(keys).cumcount() if keys else range(len(table))
    names = [table[key] for key in keys]
    return table.set_axis(pd.MultiIndex.from_arrays([*names, list(number)]))


def _with_bins_of(table, other):
    """The table and, without voxels, the rows that only the other one has."""
    empty = other.loc[~other.index.isin(table.index)].assign(voxels="0.0")
    return pd.concat([table, empty])
