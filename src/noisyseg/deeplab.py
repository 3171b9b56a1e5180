"""DeepLabV3 for volumes: a MobileNetV2 backbone and atrous spatial pyramid pooling.

References
----------
.. [1] Chen et al. 2017, Rethinking Atrous Convolution for Semantic Image Segmentation,
   arXiv 1706.05587.
.. [2] Sandler et al. 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks,
   arXiv 1801.04381.
.. [3] github.com/multimodallearning/deep_staple: channels and strides in three
   dimensions, as of 2021.
"""

import torch
import torch.nn.functional as F
from torch import nn

BLOCKS = (  # channels in the middle, out, stride; the first begins at half resolution
    (32, 16, 1),
    (96, 24, 1),
    (144, 24, 1),
    (144, 32, 1),
    (192, 32, 1),
    (192, 32, 2),
    (192, 64, 1),
    (384, 64, 1),
)
DILATIONS = (2, 4, 8, 16)


def convolve(n_in, n_out, kernel, *, stride=1, dilation=1, groups=1, act=nn.ReLU6):
    """Convolution, batch normalisation and an activation (None for none)."""
    padding = dilation * (kernel // 2)
    conv = nn.Conv3d(n_in, n_out, kernel, stride, padding, dilation, groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm3d(n_out), *([act()] if act else []))


class InvertedResidual(nn.Module):
    """Widened by 1x1x1, filtered channel by channel, narrowed; added where it fits.

    The first block of the network widens by a full 3x3x3 convolution of stride 2.
    """

    def __init__(self, n_in, n_mid, n_out, stride, first=False):
        super().__init__()
        self.layers = nn.Sequential(
            convolve(n_in, n_mid, 3, stride=2) if first else convolve(n_in, n_mid, 1),
            convolve(n_mid, n_mid, 3, stride=stride, groups=n_mid),
            convolve(n_mid, n_out, 1, act=None),
        )
        self.adds = n_in == n_out and stride == 1 and not first

    def forward(self, x):
        return x + self.layers(x) if self.adds else self.layers(x)


class Pyramid(nn.Module):
    """Atrous spatial pyramid pooling: what lies around, at several distances, and all.

    The branch that sees the mean of the whole volume has no batch normalisation: one
    number per channel and volume cannot be normalised when a batch is one volume.
    """

    def __init__(self, n_in, n_out, dropout):
        super().__init__()
        near = convolve(n_in, n_out, 1, act=nn.ReLU)
        far = (convolve(n_in, n_out, 3, dilation=d, act=nn.ReLU) for d in DILATIONS)
        self.branches = nn.ModuleList([near, *far])
        self.whole = nn.Sequential(
            nn.AdaptiveAvgPool3d(1), nn.Conv3d(n_in, n_out, 1), nn.ReLU()
        )
        n_all = n_out * (len(DILATIONS) + 2)
        self.join = nn.Sequential(
            convolve(n_all, n_out, 1, act=nn.ReLU), nn.Dropout(dropout)
        )

    def forward(self, x):
        parts = [branch(x) for branch in self.branches]
        parts.append(self.whole(x).expand_as(parts[0]))
        return self.join(torch.cat(parts, dim=1))


class DeepLab(nn.Module):
    """DeepLabV3 [1]_ with MobileNetV2 [2]_ in three dimensions, as small as [3]_.

    About 1.29 million parameters at 12 inputs and 3 classes. Trainable with batches of
    one volume.

    Parameters
    ----------
    n_classes, in_channels : int
    image_size : int
        Not needed: volumes may have any size.
    width : int
        Channels of each branch of the pyramid.
    blocks : sequence of (int, int, int)
        Of the backbone: channels in the middle, channels out, stride.
    dropout : float
        Probability of dropping a number behind the pyramid.
    """

    def __init__(
        self,
        *,
        n_classes=3,
        image_size=None,
        in_channels=12,
        width=128,
        blocks=BLOCKS,
        dropout=0.5,
    ):
        super().__init__()
        n_in, backbone = in_channels, []
        for n_mid, n_out, stride in blocks:
            first = not backbone
            backbone.append(InvertedResidual(n_in, n_mid, n_out, stride, first))
            n_in = n_out
        self.backbone = nn.ModuleList(backbone)
        self.pyramid = Pyramid(n_in, width, dropout)
        n_skip, n_head = blocks[0][1], width // 2
        self.head = nn.Sequential(
            convolve(width + n_skip, n_head, 1, act=nn.ReLU),
            convolve(n_head, n_head, 3, act=nn.ReLU),
            nn.Conv3d(n_head, n_classes, 1),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")

    def forward(self, x):
        """Logits (B, n_classes, X, Y, Z) of volumes (B, in_channels, X, Y, Z)."""
        size = x.shape[2:]
        x = skip = self.backbone[0](x)  # half the size
        for block in self.backbone[1:]:
            x = block(x)
        x = F.interpolate(self.pyramid(x), skip.shape[2:], mode="nearest")
        x = self.head(torch.cat([x, skip], dim=1))
        return F.interpolate(x, size, mode="trilinear", align_corners=False)
