"""Networks by name: images in, the logits of every class and pixel out."""

import inspect

import torch

from noisyseg.choices import check_choice
from noisyseg.deeplab import DeepLab
from noisyseg.transunet import TransUNet
from noisyseg.unets import AdditiveUNet, unet

NETWORKS = {
    "transunet": TransUNet,
    "unet": unet,
    "additive_unet": AdditiveUNet,
    "deeplab": DeepLab,
}


def build(name, *, n_classes, image_size, in_channels=1, rng=None, **config):
    """Network called `name`, with new weights.

    Parameters
    ----------
    name : str
        A key of ``NETWORKS``.
    n_classes, image_size, in_channels
        What the data demand; see the network.
    rng : numpy.random.Generator, optional
        Draws the weights; without it, PyTorch's global generator does.
    **config
        The network's own settings, as in a row of params.yaml.

    Raises
    ------
    ValueError
        If no network or no setting has that name; the nearest name is suggested.
    """
    check_choice("network", name, NETWORKS)
    network = NETWORKS[name]
    for key in config:
        check_choice(f"setting of {name}", key, inspect.signature(network).parameters)
    config |= dict(n_classes=n_classes, image_size=image_size, in_channels=in_channels)
    if rng is None:
        return network(**config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**63)))
        return network(**config)
