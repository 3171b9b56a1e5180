"""TransUNet: a slice in, the logits of every class and pixel out.

References
----------
.. [1] Chen et al. 2021, TransUNet: Transformers Make Strong Encoders for Medical
   Image Segmentation, arXiv 2102.04306, and its code, github.com/Beckschen/TransUNet.
.. [2] Dosovitskiy et al. 2021, An Image is Worth 16x16 Words, arXiv 2010.11929;
   weights ``R50+ViT-B_16.npz``, github.com/google-research/vision_transformer.
"""

from math import gcd

import torch
import torch.nn.functional as F
from torch import nn

GROUPS = 32  # of every group normalisation; narrow layers have fewer, see GroupNorm


class StandardisedConv2d(nn.Conv2d):
    """Convolution without bias whose filters have mean 0 and variance 1."""

    def __init__(self, n_in, n_out, kernel, stride=1):
        super().__init__(n_in, n_out, kernel, stride, padding=kernel // 2, bias=False)

    def forward(self, x):
        variance, mean = torch.var_mean(
            self.weight, dim=(1, 2, 3), keepdim=True, correction=0
        )
        weight = (self.weight - mean) * torch.rsqrt(variance + 1e-5)
        return F.conv2d(x, weight, None, self.stride, self.padding)


class GroupNorm(nn.GroupNorm):
    """Group normalisation with 32 groups, or as many as a narrow layer allows."""

    def __init__(self, n_channels):
        super().__init__(gcd(GROUPS, n_channels), n_channels, eps=1e-6)


class Bottleneck(nn.Module):
    """Residual unit 1x1, 3x3, 1x1; the stride is on the 3x3 convolution."""

    def __init__(self, n_in, n_mid, stride=1):
        super().__init__()
        n_out = 4 * n_mid
        self.conv1, self.norm1 = StandardisedConv2d(n_in, n_mid, 1), GroupNorm(n_mid)
        self.conv2 = StandardisedConv2d(n_mid, n_mid, 3, stride)
        self.norm2 = GroupNorm(n_mid)
        self.conv3, self.norm3 = StandardisedConv2d(n_mid, n_out, 1), GroupNorm(n_out)
        self.shortcut = None
        if n_in != n_out or stride != 1:
            self.shortcut = nn.Sequential(
                StandardisedConv2d(n_in, n_out, 1, stride),
                nn.GroupNorm(n_out, n_out),  # one channel per group, eps 1e-5
            )

    def forward(self, x):
        residual = x if self.shortcut is None else self.shortcut(x)
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.relu(self.norm2(self.conv2(x)))
        return F.relu(residual + self.norm3(self.conv3(x)))


class ResNet(nn.Module):
    """Convolutional encoder: features of 1/16 of the size, and three skips.

    ResNet-50 without its fourth stage, whose units went to the third (3, 4, 9).
    """

    def __init__(self, in_channels, width, blocks):
        super().__init__()
        self.root = nn.Sequential(
            StandardisedConv2d(in_channels, width, 7, stride=2),
            GroupNorm(width),
            nn.ReLU(),
        )
        self.stages, n_in = nn.ModuleList(), width
        for stage, n_units in enumerate(blocks):
            n_mid, stride = width * 2**stage, 1 if stage == 0 else 2
            units = [Bottleneck(n_in, n_mid, stride)]
            units += [Bottleneck(4 * n_mid, n_mid) for _ in range(n_units - 1)]
            self.stages.append(nn.Sequential(*units))
            n_in = 4 * n_mid

    def forward(self, x):
        half = self.root(x)  # (B, w, H/2, W/2)
        x = F.max_pool2d(half, 3, stride=2)  # (B, w, H/4 - 1, W/4 - 1)
        x = self.stages[0](x)  # (B, 4w, H/4 - 1, W/4 - 1)
        quarter = F.pad(x, (0, 1, 0, 1))  # (B, 4w, H/4, W/4), zeros below and right
        eighth = self.stages[1](x)  # (B, 8w, H/8, W/8)
        return self.stages[2](eighth), (eighth, quarter, half)  # (B, 16w, H/16, W/16)


class Attention(nn.Module):
    """Multi-head self-attention, softmax(q k' / sqrt(d)) v."""

    def __init__(self, hidden, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.value, self.out = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)

    def forward(self, x):
        q, k, v = (  # (B, N, hidden) -> (B, heads, N, hidden / heads)
            project(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        x = F.scaled_dot_product_attention(q, k, v)
        return self.out(x.transpose(1, 2).flatten(2))  # (B, N, hidden)


class TransformerLayer(nn.Module):
    """Attention and two-layer perceptron, each normalised first and added."""

    def __init__(self, hidden, mlp, heads, dropout):
        super().__init__()
        self.norm1 = nn.LayerNorm(hidden, eps=1e-6)
        self.attention = Attention(hidden, heads)
        self.norm2 = nn.LayerNorm(hidden, eps=1e-6)
        self.expand, self.reduce = nn.Linear(hidden, mlp), nn.Linear(mlp, hidden)
        self.dropout = nn.Dropout(dropout)
        for linear in (self.expand, self.reduce):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.normal_(linear.bias, std=1e-6)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        mlp = self.dropout(F.gelu(self.expand(self.norm2(x))))
        return x + self.dropout(self.reduce(mlp))


def convolve(n_in, n_out):
    """Convolution 3x3, batch normalisation and ReLU."""
    conv = nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(n_out), nn.ReLU())


class DecoderBlock(nn.Module):
    """Doubles the size, joins the skip (if any), convolves twice."""

    def __init__(self, n_in, n_skip, n_out):
        super().__init__()
        self.conv1 = convolve(n_in + n_skip, n_out)
        self.conv2 = convolve(n_out, n_out)

    def forward(self, x, skip=None):
        x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return self.conv2(self.conv1(x))


class TransUNet(nn.Module):
    """TransUNet [1]_: convolutional encoder, transformer, decoder with three skips.

    The defaults are the published R50-ViT-B/16 (105,323,161 parameters at 256 pixels
    and nine classes); smaller ones are a matter of configuration only. Weights start
    as in the published training from scratch: PyTorch's defaults, Xavier weights in
    the perceptrons, position embedding 0.

    It follows TransUNet where that departs from Google's hybrid [2]_: the maximum
    pooling has no padding, so that the first stage works on (H/4 - 1, W/4 - 1) and
    its skip is padded with zeros; the projection of a residual unit is normalised
    channel by channel (eps 1e-5) instead of in 32 groups; the scale of the last
    normalisation of a unit starts at 1 instead of 0; there is no class token.

    Parameters
    ----------
    n_classes : int
        Classes, background included.
    image_size : int or (int, int)
        Height and width in pixels, multiples of 16.
    in_channels : int
        Channels of the image; a single one is repeated to three, as published.
    width : int
        Channels of the encoder's first convolution; its stages have 4, 8, 16 times.
    blocks : three int
        Residual units of each stage.
    hidden, mlp, heads, layers : int
        Transformer: token size, perceptron size, attention heads, layers.
    bridge : int
        Channels between transformer and decoder.
    decoder : four int
        Channels of the decoder's blocks, deepest first.
    dropout : float
        Probability of dropping in the embedding and the perceptrons.

    Raises
    ------
    ValueError
        If a size does not divide as required, or an image has another size.
    """

    def __init__(
        self,
        *,
        n_classes=9,
        image_size=256,
        in_channels=1,
        width=64,
        blocks=(3, 4, 9),
        hidden=768,
        mlp=3072,
        heads=12,
        layers=12,
        bridge=512,
        decoder=(256, 128, 64, 16),
        dropout=0.1,
    ):
        super().__init__()
        size = (image_size,) * 2 if isinstance(image_size, int) else tuple(image_size)
        check_configuration(size, hidden, heads, blocks, decoder)
        self.in_channels, self.image_size = in_channels, size
        self.grid = (size[0] // 16, size[1] // 16)
        n_tokens = self.grid[0] * self.grid[1]

        self.resnet = ResNet(3 if in_channels == 1 else in_channels, width, blocks)
        self.embedding = nn.Conv2d(16 * width, hidden, 1)
        self.position = nn.Parameter(torch.zeros(1, n_tokens, hidden))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            TransformerLayer(hidden, mlp, heads, dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden, eps=1e-6)
        self.bridge = convolve(hidden, bridge)
        skips = (8 * width, 4 * width, width, 0)
        channels = zip((bridge, *decoder[:-1]), skips, decoder, strict=True)
        self.decoder = nn.ModuleList(DecoderBlock(*c) for c in channels)
        self.head = nn.Conv2d(decoder[-1], n_classes, 3, padding=1)

    def forward(self, x):
        """Logits (B, n_classes, H, W) of images (B, in_channels, H, W), both float."""
        if tuple(x.shape[1:]) != (self.in_channels, *self.image_size):
            raise ValueError(
                f"images must be (B, {self.in_channels}, {self.image_size[0]}, "
                f"{self.image_size[1]}), got {tuple(x.shape)}; resample them, or build "
                "the network with their image_size"
            )
        if self.in_channels == 1:
            x = x.repeat(1, 3, 1, 1)  # (B, 3, H, W)
        x, skips = self.resnet(x)
        x = self.embedding(x).flatten(2).transpose(1, 2)  # (B, N = H/16 W/16, hidden)
        x = self.dropout(x + self.position)
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x).transpose(1, 2).unflatten(2, self.grid)  # back to (H/16, W/16)
        x = self.bridge(x)
        for block, skip in zip(self.decoder, (*skips, None), strict=True):
            x = block(x, skip)  # height and width double
        return self.head(x)


def check_configuration(size, hidden, heads, blocks, decoder):
    """Refuse sizes that TransUNet cannot be built with."""
    if len(size) != 2 or any(n < 32 or n % 16 for n in size):
        raise ValueError(
            f"image_size must be one or two multiples of 16, at least 32, got {size}; "
            "pad or resample the slices"
        )
    if hidden % heads:
        raise ValueError(
            f"hidden must be a multiple of heads ({heads}), got {hidden}; change either"
        )
    if len(blocks) != 3 or len(decoder) != 4:
        raise ValueError(
            "blocks must have 3 and decoder 4 numbers, "
            f"got {tuple(blocks)} and {tuple(decoder)}; see the published defaults"
        )
