"""Painting of a tissue map, part by part, from distances on a grid twice as coarse.

A part is a tuple of limits (x0, x1, y0, y1, z0, z1 in mm of the template), a function
of coordinates that gives distances, a painter that cuts them into tissues, and the
names of the further fields that the painter needs. Distances are computed a few planes
at a time and refined (`shapes.refined_planes`), so that memory stays small.
"""

import numpy as np

from noisyseg.shapes import in_slabs, refined_planes

_CHUNK = 20  # coarse planes whose distances are kept at a time


def paint_parts(labels, fields, parts, subject):
    """Paints all parts in turn, later ones over earlier ones.

    Parameters
    ----------
    labels : uint8 array (2 X, 2 Y, 2 Z), changed in place
    fields : dict of float64 arrays (X + 2, Y + 2, Z + 2)
        Template coordinates x, y, z (mm), and noises by name; of the noises a and b
        painters may need the ``thread``, sqrt(a^2 + b^2), which is small along curves.
    parts : sequence of tuple
        (limits, distances, paint, needs): `distances(at, subject)` gives a dict of
        coarse arrays, `paint(labels, fields, subject)` gets them refined.
    subject : object
        Handed on to both.
    """
    for limits_mm, distances, paint, needs in parts:
        box = _within(fields, limits_mm)
        for place, here in _chunks(fields, box, distances, needs, subject):
            view = labels[place]
            for i, slab in enumerate(refined_planes(here)):
                if "thread" in needs:
                    slab["thread"] = np.sqrt(slab["a"] ** 2 + slab["b"] ** 2)
                paint(view[2 * i : 2 * i + 2], slab, subject)


def _chunks(fields, box, distances, needs, subject):
    """Pieces of a box along x: their place in the labels, and their coarse fields."""
    wanted = [n for n in needs if n != "thread"]
    wanted += ["a", "b"] if "thread" in needs else []
    first, last = box[0]
    for start in range(first, last, _CHUNK):
        sides = ((start, min(start + _CHUNK, last)), *box[1:])
        coarse = tuple(slice(a, b + 2) for a, b in sides)
        at = [fields[name][coarse] for name in "xyz"]
        here = in_slabs(lambda slab: distances(slab, subject), at)
        here |= {name: fields[name][coarse] for name in wanted}
        yield tuple(slice(2 * a, 2 * b) for a, b in sides), here


def _within(fields, limits_mm):
    """First and last inner node along each axis around the template limits (mm)."""
    inside = np.ones(fields["x"].shape, bool)
    for name, low, high in zip("xyz", limits_mm[0::2], limits_mm[1::2], strict=True):
        inside &= (fields[name] > low) & (fields[name] < high)
    box = []
    for axis in range(3):
        others = tuple(i for i in range(3) if i != axis)
        hit = np.flatnonzero(inside.any(axis=others)[1:-1])
        box.append((int(hit[0]), int(hit[-1]) + 1) if len(hit) else (0, 0))
    return box
