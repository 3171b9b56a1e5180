"""Weights of Google's R50+ViT-B/16, put into the encoder of a TransUNet.

The file is ``R50+ViT-B_16.npz`` (ImageNet-21k, Dosovitskiy et al. 2021), from
storage.googleapis.com/vit_models or a copy of it. TransUNet reads it although two of
its layers depart from Google's; see ``noisyseg.transunet.TransUNet``.
"""

import zipfile

import numpy as np
import torch
from scipy.ndimage import zoom

ATTENTION = "MultiHeadDotProductAttention_1"


def load_pretrained(model, path):
    """`model` itself, its encoder and transformer filled from the file.

    Decoder and head keep their weights, as published. A position embedding of
    another grid loses its class token and is resized linearly.

    Parameters
    ----------
    model : noisyseg.transunet.TransUNet
    path : str or Path
        An .npz in Google's names and layout, convolution kernels as (H, W, in, out).

    Raises
    ------
    ValueError
        If the file is no .npz of plain numbers, lacks keys, or has other shapes; the
        model is then unchanged.
    """
    arrays, values, faults = read_arrays(path), {}, []
    for name, key in published_keys(model).items():
        parameter = model.get_parameter(name)
        if key not in arrays:
            faults.append(f"{key} is missing")
        elif name == "position":
            values[name] = resize_position(arrays[key], model.grid)
        else:
            values[name] = to_torch_layout(arrays[key], parameter)
        if name in values and values[name].shape != tuple(parameter.shape):
            faults.append(f"{key} has shape {arrays[key].shape}")
    if faults:
        shown = "; ".join(faults[:5]) + ("; ..." if len(faults) > 5 else "")
        raise ValueError(
            f"{path} must hold the weights of this network's encoder, got "
            f"{len(faults)} fault(s): {shown}; use R50+ViT-B_16.npz with the published "
            "configuration"
        )
    with torch.no_grad():
        for name, value in values.items():
            model.get_parameter(name).copy_(torch.from_numpy(value))
    return model


def read_arrays(path):
    """The arrays of an .npz by key, read without unpickling anything."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except (ValueError, zipfile.BadZipFile, EOFError, AttributeError) as error:
        raise ValueError(
            f"{path} must be an .npz file of plain numbers, got {error}; "
            "download R50+ViT-B_16.npz again"
        ) from error


def published_keys(model):
    """Google's key of every parameter of encoder and transformer, by our name."""
    keys = {
        "position": "Transformer/posembed_input/pos_embedding",
        "resnet.root.0.weight": "conv_root/kernel",
        **scale_and_bias("resnet.root.1", "gn_root"),
        **kernel_and_bias("embedding", "embedding"),
        **scale_and_bias("norm", "Transformer/encoder_norm"),
    }
    for i, stage in enumerate(model.resnet.stages):
        for j, unit in enumerate(stage):
            ours, theirs = f"resnet.stages.{i}.{j}", f"block{i + 1}/unit{j + 1}"
            for k in "123":
                keys[f"{ours}.conv{k}.weight"] = f"{theirs}/conv{k}/kernel"
                keys |= scale_and_bias(f"{ours}.norm{k}", f"{theirs}/gn{k}")
            if unit.shortcut is not None:
                keys[f"{ours}.shortcut.0.weight"] = f"{theirs}/conv_proj/kernel"
                keys |= scale_and_bias(f"{ours}.shortcut.1", f"{theirs}/gn_proj")
    for i in range(len(model.layers)):
        ours, theirs = f"layers.{i}", f"Transformer/encoderblock_{i}"
        keys |= scale_and_bias(f"{ours}.norm1", f"{theirs}/LayerNorm_0")
        keys |= scale_and_bias(f"{ours}.norm2", f"{theirs}/LayerNorm_2")
        keys |= kernel_and_bias(f"{ours}.expand", f"{theirs}/MlpBlock_3/Dense_0")
        keys |= kernel_and_bias(f"{ours}.reduce", f"{theirs}/MlpBlock_3/Dense_1")
        for part in ("query", "key", "value", "out"):
            keys |= kernel_and_bias(
                f"{ours}.attention.{part}", f"{theirs}/{ATTENTION}/{part}"
            )
    return keys


def scale_and_bias(ours, theirs):
    """Keys of a normalisation."""
    return {f"{ours}.weight": f"{theirs}/scale", f"{ours}.bias": f"{theirs}/bias"}


def kernel_and_bias(ours, theirs):
    """Keys of a convolution or a linear layer."""
    return {f"{ours}.weight": f"{theirs}/kernel", f"{ours}.bias": f"{theirs}/bias"}


def to_torch_layout(array, parameter):
    """`array` in the axes of `parameter`; as it is where it cannot be that one.

    Convolutions (H, W, in, out) -> (out, in, H, W); linear layers, whose attention
    heads are an axis of their own, -> (out, in); scales and biases -> (n,).
    """
    if parameter.ndim == 4:
        return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
    if array.size != parameter.numel():
        return array
    if parameter.ndim == 1:
        return array.reshape(-1)
    n_out, n_in = parameter.shape
    fits = array.shape[0] == n_in or array.shape[-1] == n_out
    return array.reshape(n_in, n_out).T if fits else array


def resize_position(array, grid):
    """Position embedding (1, tokens, hidden) for `grid`, without a class token."""
    n_tokens = grid[0] * grid[1]
    if array.ndim != 3 or array.shape[1] == n_tokens:
        return array
    array = array[:, 1:]  # the class token stands first
    side = round(array.shape[1] ** 0.5)
    if array.shape[1] == n_tokens or side * side != array.shape[1]:
        return array
    square = array.reshape(side, side, -1)
    resized = zoom(square, (grid[0] / side, grid[1] / side, 1), order=1)
    return resized.reshape(1, n_tokens, -1)
