import numpy as np
import torch

from noisyseg import inference, slicing, volume
from noisyseg.volume import Volume


class Bright(torch.nn.Module):
    """Class 1 where the image is bright."""

    def forward(self, images):
        return torch.cat([0.5 - images, images - 0.5], 1)


def ball(shape, spacing_mm, centre_mm=(0, 0, 0), radius_mm=60.0):
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -0.5 * (np.array(shape) - 1) * spacing_mm
    where = np.moveaxis(np.indices(shape), 0, -1) * spacing_mm + affine[:3, 3]
    inside = np.linalg.norm(where - centre_mm, axis=-1) < radius_mm
    return Volume(100 * inside.astype(np.float32), affine)


def test_a_threshold_network_segments_by_threshold(rng):
    image = Volume(rng.uniform(0, 100, (8, 8, 5)).astype(np.float32), np.eye(4))
    found = inference.segment(Bright(), [image], 8, batch_size=2)
    expected = slicing.normalise(image.data) > 0.5
    np.testing.assert_array_equal(found.data.astype(bool), expected)
    np.testing.assert_array_equal(found.affine, image.affine)


def test_the_frame_of_a_head_is_its_own_grid():
    head = ball((40, 48, 40), (4.0, 4.0, 4.0), (10, -8, 0))
    grid = inference.Frame.of([head]).around(head)
    volume.check_same_grid(head, grid, "head", "frame")


def test_a_head_of_another_grid_is_found_where_it_is():
    frame = inference.Frame.of([ball((40, 48, 40), (4.0, 4.0, 4.0))])
    head = ball((90, 80, 70), (2.2, 3.0, 2.5), (15, 20, 0))
    found = inference.segment_in_frame(Bright(), [head], 64, frame)
    volume.check_same_grid(head, found, "head", "labels")
    assert np.mean(found.data == (head.data > 0)) > 0.97
