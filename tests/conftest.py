import numpy as np
import pytest


def pytest_collection_modifyitems(items):
    """The whole line first: it is the longest, and the rest runs beside it."""
    items.sort(key=lambda item: item.get_closest_marker("pipeline") is None)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
