import numpy as np
import pytest

from noisyseg import morphometry
from noisyseg.labeltables import HEAD
from noisyseg.volume import Volume

RADII_MM = {"skin": 90, "bone": 84, "CSF": 76, "GM": 72, "WM": 66}


@pytest.fixture(scope="module")
def nested():
    """Nested spheres on a 2 mm grid; intensity is ten times the label."""
    at = np.stack(np.indices((96, 96, 96)), -1) * 2.0 - 95.0
    radius = np.linalg.norm(at, axis=-1)
    labels = np.zeros(radius.shape, np.uint8)
    for name, outer in RADII_MM.items():
        labels[radius < outer] = HEAD.value(name)
    grid = Volume(labels, np.diag([2.0, 2.0, 2.0, 1.0]))
    image = grid.with_data(10 * labels.astype(float))
    return morphometry.measure(grid, {"T1w": image}, HEAD)


def value(table, measure, structure, other=""):
    keys = ["measure", "structure", "other"]
    return table.set_index(keys)["value"][measure, structure, other]


def test_layers_of_nested_spheres_by_hand(nested):
    assert value(nested, "layer_mm", "skin") == pytest.approx(6, abs=0.3)
    assert value(nested, "layer_mm", "bone") == pytest.approx(8, abs=0.3)
    assert value(nested, "layer_mm", "CSF") == pytest.approx(4, abs=0.3)


def test_sheets_of_nested_spheres_by_hand(nested):
    assert value(nested, "sheet_mm", "bone") == pytest.approx(8, rel=0.05)


def test_volume_stops_at_the_depth_below_the_top(nested):
    cap = np.pi * 150**2 * (90 - 150 / 3) / 1000  # spherical cap of height 150
    inner = np.pi * 144**2 * (84 - 144 / 3) / 1000
    assert value(nested, "volume_ml", "skin") == pytest.approx(cap - inner, rel=0.05)


def test_contacts_name_the_neighbours(nested):
    assert value(nested, "contact", "bone", "GM") == 0
    both = [value(nested, "contact", "bone", other) for other in ("skin", "CSF")]
    assert sum(both) == pytest.approx(1)


def test_intensities_are_in_units_of_white_matter(nested):
    assert value(nested, "T1w", "WM", "1.1") == 1
    assert value(nested, "T1w", "GM", "2.1") == 1


def test_summary_has_mean_and_range(nested):
    double = nested.assign(value=3 * nested["value"])
    row = morphometry.summarise([nested, double]).iloc[0]
    assert row["mean"] == pytest.approx(2 * row["low"])
    assert row["high"] == pytest.approx(3 * row["low"])
