"""Figures for people: cuts through heads, labels over images, scores over cases."""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.patches import Patch


def planes(volume, centre=None):
    """Axial, coronal and sagittal cut of a canonical volume, ready for imshow.

    Parameters
    ----------
    volume : Volume
        Canonical axes (RAS+).
    centre : tuple of int, optional
        Voxel through which to cut; default the middle.

    Returns
    -------
    dict of plane name to (array, aspect); front or top is up, left is left
    """
    x, y, z = centre or tuple(n // 2 for n in volume.shape)
    sx, sy, sz = volume.spacing_mm
    return {
        "axial": (volume.data[:, :, z].T[::-1], sy / sx),
        "coronal": (volume.data[:, y, :].T[::-1], sz / sx),
        "sagittal": (volume.data[x, :, :].T[::-1], sz / sy),
    }


def draw_labels(axes, cut, table, aspect=1.0, alpha=1.0):
    """Draw one cut of a label image in the colours of its table."""
    colours = ListedColormap(table.colours)
    norm = BoundaryNorm(np.arange(len(table) + 1) - 0.5, len(table))
    shown = np.ma.masked_equal(cut, 0) if alpha < 1 else cut
    axes.imshow(
        shown, colours, norm, aspect=aspect, alpha=alpha, interpolation="nearest"
    )
    axes.set_axis_off()


def draw_image(axes, cut, ceiling, aspect=1.0):
    """Draw one cut of an image in grey from 0 to a ceiling."""
    axes.imshow(cut, "gray", vmin=0, vmax=ceiling, aspect=aspect)
    axes.set_axis_off()


def methods_figure(image, labels, table, centre=None):
    """One head under all methods: a column per method, a row per plane.

    Parameters
    ----------
    image : Volume
        Shown in the first column.
    labels : dict of str to Volume
        Column title to labels on the grid of `image`.
    table : LabelTable
    centre : tuple of int, optional

    Returns
    -------
    matplotlib Figure
    """
    ceiling = np.percentile(image.data, 99.5)
    columns = 1 + len(labels)
    figure, axes = plt.subplots(
        3, columns, figsize=(2.1 * columns, 6.6), layout="constrained", squeeze=False
    )
    for row, (cut, aspect) in zip(axes, planes(image, centre).values(), strict=True):
        draw_image(row[0], cut, ceiling, aspect)
    axes[0, 0].set_title("T1w", fontsize=9)
    for column, (title, found) in zip(axes.T[1:], labels.items(), strict=True):
        column[0].set_title(title, fontsize=9)
        cuts = planes(found, centre).values()
        for place, (cut, aspect) in zip(column, cuts, strict=True):
            draw_labels(place, cut, table, aspect)
    add_legend(figure, table)
    return figure


def add_legend(figure, table):
    """A legend of all structures below the axes."""
    handles = [
        Patch(facecolor=colour, edgecolor="0.5", label=name)
        for name, colour in zip(table.names, table.colours, strict=True)
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=9, frameon=False, fontsize=8
    )


def overlay_png(image, labels, table, path):
    """Write a picture of labels over an image: three planes, five cuts each.

    Parameters
    ----------
    image, labels : Volume
        One canonical grid.
    table : LabelTable
    path : str or Path
        ``.png``; appears only when whole.
    """
    ceiling = np.percentile(image.data, 99.5)
    inside = np.argwhere(labels.data > 0)
    if not len(inside):
        inside = np.argwhere(np.ones(labels.shape, bool))
    low, high = inside.min(0), inside.max(0)
    figure, axes = plt.subplots(3, 5, figsize=(13, 8.4), layout="constrained")
    for column, share in zip(axes.T, np.linspace(0.2, 0.8, 5), strict=True):
        centre = tuple((low + share * (high - low)).round().astype(int))
        cuts = (planes(volume, centre).values() for volume in (image, labels))
        for place, ((grey, aspect), (cut, _)) in zip(
            column, zip(*cuts, strict=True), strict=True
        ):
            draw_image(place, grey, ceiling, aspect)
            draw_labels(place, cut, table, aspect, alpha=0.45)
    add_legend(figure, table)
    save(figure, path)


def distribution_figure(scores, metric, titles, structures):
    """Per-class distribution over cases: a panel per structure, a swarm per method.

    Parameters
    ----------
    scores : DataFrame
        One value per case (`evaluation.mean_over_seeds`) against one reference.
    metric : str
    titles : dict of arm to row name
    structures : sequence of str

    Returns
    -------
    matplotlib Figure
    """
    import seaborn as sns

    chosen = scores[(scores["metric"] == metric) & scores["arm"].isin(titles)]
    chosen = chosen.assign(method=chosen["arm"].map(titles))
    order = list(titles.values())
    colours = sns.color_palette("colorblind", len(order))
    figure, axes = plt.subplots(
        3, 3, figsize=(10, 7.5), layout="constrained", sharey=False
    )
    for place, name in zip(axes.flat, structures, strict=False):
        rows = chosen[chosen["structure"] == name]
        style = {"data": rows, "x": "value", "y": "method", "order": order}
        style |= {"hue": "method", "hue_order": order, "palette": colours, "ax": place}
        sns.swarmplot(**style, size=5, alpha=0.8, legend=False)
        place.locator_params(axis="x", nbins=4)
        place.set(title=name, xlabel=metric, ylabel="")
        place.set_yticks(range(len(order)), order if place in axes[:, 0] else [])
    return figure


def save(figure, path):
    """Write a figure as PNG without a date in it; it appears only when whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    figure.savefig(part, format="png", dpi=110, metadata={"Software": None})
    os.replace(part, path)
    plt.close(figure)
