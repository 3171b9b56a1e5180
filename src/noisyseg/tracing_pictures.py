"""A picture of one segmentation: where it is worst, reference and prediction."""

import matplotlib.pyplot as plt
import numpy as np

from noisyseg import figures

MARGIN_VOX = 8  # around a structure
LEAST_VOX = 40  # edge of what is shown, so that a small structure is seen somewhere
COLOURS = {"reference": "#ffb000", "prediction": "#35c4ff"}


def worst_slice(truth, pred):
    """The axial slice with the most wrong voxels; without any, the fullest one.

    Parameters
    ----------
    truth, pred : bool arrays of shape (X, Y, Z)

    Examples
    --------
    >>> truth, pred = np.zeros((2, 2, 2, 5), bool)
    >>> truth[0, 0, 1:], pred[0, :, 3] = True, True
    >>> worst_slice(truth, truth), worst_slice(truth, pred)
    (1, 1)
    """
    wrong = (truth != pred).sum(axis=(0, 1))
    return int((wrong if wrong.any() else truth.sum(axis=(0, 1))).argmax())


def draw(image, truth, pred, titles):
    """An axial slice twice: alone, and with the contours of reference and prediction.

    Parameters
    ----------
    image : Volume
        Canonical axes.
    truth, pred : bool arrays of its shape
    titles : pair of str

    Returns
    -------
    matplotlib Figure
    """
    z = worst_slice(truth, pred)
    box = _window(truth[:, :, z] | pred[:, :, z])
    x_mm, y_mm, _ = image.spacing_mm
    grey, high = image.data[:, :, z], np.percentile(image.data, 99.5)
    figure = plt.figure(figsize=(5.6, 3.2))
    for left, title in zip((0.01, 0.51), titles, strict=True):
        place = figure.add_axes((left, 0.09, 0.48, 0.83))
        figures.draw_image(place, grey[box].T[::-1], high, y_mm / x_mm)
        place.images[0].set(interpolation="nearest")
        place.set_title(title, fontsize=8)
    styles, lines = ("solid", "dashed"), []
    for mask, (name, colour), style in zip(
        (truth, pred), COLOURS.items(), styles, strict=True
    ):
        cut = mask[:, :, z][box].T[::-1].astype(float)
        if 0 < cut.mean() < 1:
            how = {"colors": colour, "linestyles": style, "linewidths": 1.2}
            place.contour(cut, [0.5], **how)
        lines.append(plt.Line2D([], [], color=colour, linestyle=style, label=name))
    where = {"loc": "lower center", "ncols": 2, "frameon": False, "fontsize": 8}
    figure.legend(handles=lines, **where)
    return figure


def _window(mask):
    """The rows and columns of a slice around a mask; all of it without a mask."""
    spots = np.argwhere(mask)
    if not len(spots):
        return tuple(slice(0, size) for size in mask.shape)
    low, high = spots.min(axis=0) - MARGIN_VOX, spots.max(axis=0) + 1 + MARGIN_VOX
    short = np.maximum(LEAST_VOX - (high - low), 0)
    low, high = low - short // 2, high + (short + 1) // 2
    return tuple(slice(max(a, 0), b) for a, b in zip(low, high, strict=True))


def write(path, segmentation, structure, titles):
    """Write the picture of one structure of a segmentation as PNG."""
    truth, pred = segmentation.masks(structure)
    figures.save(draw(segmentation.image, truth, pred, titles), path)
