"""U-Nets: MONAI's for slices, and one for volumes whose skips are added.

References
----------
.. [1] Roulet, Fernandez Slezak, Ferrante 2019, Joint Learning of Brain Lesion and
   Anatomy Segmentation from Heterogeneous Datasets, MIDL, PMLR 102:401.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import nn


def unet(
    *,
    n_classes=9,
    image_size=256,
    in_channels=1,
    channels=(16, 32, 64, 128),
    residual_units=0,
    dropout=0.0,
):
    """MONAI's U-Net: strided convolutions down, transposed ones up, skips between.

    Parameters
    ----------
    n_classes, in_channels : int
    image_size : int
        Height and width in pixels; halved from each of the levels to the next.
    channels : sequence of int
        Channels of the levels, finest first.
    residual_units : int
        Of each level; 0 is one plain convolution.
    dropout : float
        Probability of dropping a channel.
    """
    from monai.networks.nets import UNet

    check_size("image_size", image_size, channels)
    return UNet(
        spatial_dims=2,
        in_channels=in_channels,
        out_channels=n_classes,
        channels=tuple(channels),
        strides=[2] * (len(channels) - 1),
        num_res_units=residual_units,
        norm="batch",
        dropout=dropout,
    )


def convolve_twice(n_in, n_out):
    """Two times convolution 3x3x3, batch normalisation and ReLU."""
    layers = []
    for n in (n_in, n_out):
        conv = nn.Conv3d(n, n_out, 3, padding=1, bias=False)
        layers += [conv, nn.BatchNorm3d(n_out), nn.ReLU()]
    return nn.Sequential(*layers)


class AdditiveUNet(nn.Module):
    """3-D U-Net whose skips are added instead of concatenated [1]_.

    Blocks of two convolutions; maximum pooling down, transposed convolutions up, each
    by 2; weights as He et al. 2015. The paper has four levels of 32 to 256 channels
    (5.0 million parameters at two inputs and five classes).

    Parameters
    ----------
    n_classes, in_channels : int
    image_size : int
        Edge of the patches that it learns from, in voxels, a multiple of 2 for each of
        the levels but the first. Volumes may have any such sizes.
    channels : sequence of int
        Channels of the levels, finest first.

    Raises
    ------
    ValueError
        If the patches cannot be halved so often.
    """

    def __init__(
        self, *, n_classes=5, image_size=32, in_channels=2, channels=(32, 64, 128, 256)
    ):
        super().__init__()
        check_size("image_size", image_size, channels)
        pairs = list(pairwise(channels))
        first = convolve_twice(in_channels, channels[0])
        self.down = nn.ModuleList([first, *(convolve_twice(*pair) for pair in pairs)])
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(n_deep, n_fine, 2, stride=2) for n_fine, n_deep in pairs
        )
        self.out = nn.ModuleList(convolve_twice(n, n) for n in channels[:-1])
        self.head = nn.Conv3d(channels[0], n_classes, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x):
        """Logits (B, n_classes, X, Y, Z) of volumes (B, in_channels, X, Y, Z)."""
        skips = []
        for block in self.down:
            x = block(F.max_pool3d(x, 2) if skips else x)
            skips.append(x)
        levels = zip(self.up[::-1], self.out[::-1], skips[-2::-1], strict=True)
        for up, block, skip in levels:
            x = block(up(x) + skip)  # twice the size
        return self.head(x)


def check_size(name, size, channels):
    """Refuse an edge that cannot be halved from each level to the next."""
    factor = 2 ** (len(channels) - 1)
    if size % factor:
        raise ValueError(
            f"{name} must be a multiple of {factor}, got {size}; resample the images "
            "or take fewer levels"
        )
