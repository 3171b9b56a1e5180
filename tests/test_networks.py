import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from noisyseg import networks
from noisyseg.pretrained import load_pretrained, published_keys

DATA = Path(__file__).parent / "data"
SMALL = dict(
    width=32,
    blocks=[1, 2, 1],
    hidden=48,
    mlp=96,
    heads=4,
    layers=2,
    decoder=[32, 16, 16, 8],
)
OURS = [  # the publication's parameter names -> ours
    (r"transformer\.embeddings\.hybrid_model\.root\.conv", "resnet.root.0"),
    (r"transformer\.embeddings\.hybrid_model\.root\.gn", "resnet.root.1"),
    (
        r"transformer\.embeddings\.hybrid_model\.body\.block(.)\.unit(.)",
        lambda m: f"resnet.stages.{int(m[1]) - 1}.{int(m[2]) - 1}",
    ),
    (r"downsample", "shortcut.0"),
    (r"gn_proj", "shortcut.1"),
    (r"\.gn", ".norm"),
    (r"transformer\.embeddings\.patch_embeddings", "embedding"),
    (r"transformer\.embeddings\.position_embeddings", "position"),
    (r"transformer\.encoder\.layer", "layers"),
    (r"transformer\.encoder\.encoder_norm", "norm"),
    (r"attention_norm", "norm1"),
    (r"ffn_norm", "norm2"),
    (r"ffn\.fc1", "expand"),
    (r"ffn\.fc2", "reduce"),
    (r"attn\.", "attention."),
    (r"decoder\.conv_more", "bridge"),
    (r"decoder\.blocks", "decoder"),
    (r"segmentation_head\.0", "head"),
]


def rename(published):
    for pattern, ours in OURS:
        published = re.sub(pattern, ours, published)
    return published


def fill(model, keys):
    """The made-up weights of the reference: w = sin(0.37 j + i), scaled by kind."""
    for i, (published, shape) in enumerate(keys):
        parameter = model.get_parameter(rename(published))
        assert list(parameter.shape) == shape
        j = torch.arange(parameter.numel(), dtype=torch.float64)
        w = torch.sin(0.37 * j + i).reshape(shape)
        if len(shape) == 1:
            w = 1 + 0.1 * w if published.endswith("weight") else 0.1 * w
        else:
            fan_in = parameter[0].numel()
            w = w * (0.1 if "position" in published else (2 / fan_in) ** 0.5)
        parameter.data.copy_(w)


@torch.no_grad()
def logits_of_reference(name, size, **config):
    keys = json.loads((DATA / f"transunet_{name}_keys.json").read_text())
    model = networks.build("transunet", n_classes=9, image_size=size, **config)
    model = model.double().eval()
    assert {rename(key) for key, _ in keys} == set(dict(model.named_parameters()))
    fill(model, keys)
    j = torch.arange(size * size, dtype=torch.float64)
    image = (torch.sin(0.11 * j) + torch.cos(0.013 * j)).reshape(1, 1, size, size)
    with np.load(DATA / f"transunet_{name}.npz") as file:
        ours, published = model(image)[0].numpy(), file["logits"]
    return ours, published, sum(p.numel() for p in model.parameters())


def test_small_network_equals_the_publication():
    ours, published, size = logits_of_reference("small", 64, **SMALL)
    assert size == 1_122_369
    np.testing.assert_allclose(ours[:, ::2, ::2], published, rtol=0, atol=1e-5)


def test_full_network_equals_the_publication():
    ours, published, size = logits_of_reference("full", 256)
    assert size == 105_323_161
    np.testing.assert_allclose(ours[:, ::16, ::16], published, rtol=0, atol=1e-8)


def test_oblong_images_and_two_channels():
    config = SMALL | dict(width=8, bridge=16)
    build = dict(n_classes=3, image_size=(48, 32), in_channels=2)
    model = networks.build("transunet", **build, **config).eval()
    assert model(torch.zeros(2, 2, 48, 32)).shape == (2, 3, 48, 32)


def test_same_rng_gives_same_weights_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    a, b = (
        networks.build(
            "transunet",
            n_classes=2,
            image_size=32,
            rng=np.random.default_rng(3),
            **SMALL,
        )
        for _ in range(2)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(map(torch.equal, a.parameters(), b.parameters()))


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("transunnet", {}, "did you mean 'transunet'"),
        ("transunet", {"hiden": 3}, "got 'hiden'; did you mean 'hidden'"),
        ("transunet", {"image_size": 100}, "multiples of 16.*100"),
        ("transunet", {"hidden": 10, "heads": 3}, "multiple of heads"),
        ("transunet", {"decoder": [8]}, "decoder 4 numbers"),
    ],
)
def test_wrong_configuration_is_refused(name, change, message):
    config = dict(n_classes=2, image_size=32) | SMALL | change
    with pytest.raises(ValueError, match=message):
        networks.build(name, **config)


def test_image_of_another_size_is_refused():
    model = networks.build("transunet", n_classes=2, image_size=32, **SMALL)
    with pytest.raises(ValueError, match=r"images must be \(B, 1, 32, 32\)"):
        model(torch.zeros(1, 1, 48, 48))


def google_layout(model, grid, rng):
    """Arrays of the keys and shapes of R50+ViT-B_16.npz for `model`'s sizes."""
    arrays = {"cls": np.zeros((1, 1, 8)), "head/bias": np.zeros(21843)}
    heads = model.layers[0].attention.heads
    for name, key in published_keys(model).items():
        shape = tuple(model.get_parameter(name).shape)
        if name == "position":
            shape = (1, grid * grid + 1, shape[2])
        elif len(shape) == 4:
            shape = (shape[2], shape[3], shape[1], shape[0])
        elif "attention.out.weight" in name:
            shape = (heads, shape[1] // heads, shape[0])
        elif "attention" in name and "out" not in name:
            shape = (*shape[:0:-1], heads, shape[0] // heads)
        elif len(shape) == 2:
            shape = shape[::-1]
        arrays[key] = rng.random(shape, dtype=np.float32)
    return arrays


@pytest.fixture
def small():
    return networks.build("transunet", n_classes=2, image_size=64, **SMALL)


def test_pretrained_weights_arrive_transposed(small, tmp_path):
    arrays = google_layout(small, 4, np.random.default_rng(0))
    np.savez(tmp_path / "w.npz", **arrays)
    head, bridge = small.head.weight.clone(), small.bridge[0].weight.clone()
    load_pretrained(small, tmp_path / "w.npz")
    conv = arrays["block2/unit1/conv2/kernel"]  # (H, W, in, out)
    query = arrays[
        "Transformer/encoderblock_1/MultiHeadDotProductAttention_1/query/kernel"
    ]
    out = arrays["Transformer/encoderblock_1/MultiHeadDotProductAttention_1/out/kernel"]
    attention = small.layers[1].attention
    assert small.resnet.stages[1][0].conv2.weight[5, 7, 2, 1] == conv[2, 1, 7, 5]
    assert attention.query.weight[2 * 12 + 3, 9] == query[9, 2, 3]
    assert attention.out.weight[9, 2 * 12 + 3] == out[2, 3, 9]
    assert (
        small.position[0, 3, 5]
        == arrays["Transformer/posembed_input/pos_embedding"][0, 4, 5]
    )
    assert torch.equal(head, small.head.weight)
    assert torch.equal(bridge, small.bridge[0].weight)


def test_position_embedding_is_resized_linearly(small, tmp_path):
    arrays = google_layout(small, 7, np.random.default_rng(0))
    ramp = np.arange(7.0)[:, None] + 10 * np.arange(7.0)
    table = np.concatenate([[99.0], ramp.ravel()])[:, None].repeat(48, 1)
    arrays["Transformer/posembed_input/pos_embedding"] = table[None]
    np.savez(tmp_path / "w.npz", **arrays)
    load_pretrained(small, tmp_path / "w.npz")
    expected = np.arange(0, 7, 2)[:, None] + 10 * np.arange(0, 7, 2)  # 7 -> 4 points
    np.testing.assert_allclose(small.position.detach()[0, :, 0], expected.ravel())


def test_pretrained_file_of_the_real_shapes(tmp_path):
    model = networks.TransUNet(layers=1, bridge=8, decoder=(8, 8, 8, 8))
    arrays = google_layout(model, 14, np.random.default_rng(0))
    kernel = "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel"
    assert arrays[kernel].shape == (768, 12, 64)
    assert arrays["conv_root/kernel"].shape == (7, 7, 3, 64)
    assert arrays["block3/unit9/conv3/kernel"].shape == (1, 1, 256, 1024)
    np.savez(tmp_path / "w.npz", **arrays)
    load_pretrained(model, tmp_path / "w.npz")
    corner = arrays["Transformer/posembed_input/pos_embedding"][0, 1]
    np.testing.assert_allclose(model.position.detach()[0, 0], corner, rtol=1e-6)


def test_pretrained_faults_are_one_error_and_change_nothing(small, tmp_path):
    arrays = google_layout(small, 4, np.random.default_rng(0))
    del arrays["gn_root/scale"]
    arrays["embedding/kernel"] = np.zeros((1, 1, 5, 48))
    np.savez(tmp_path / "w.npz", **arrays)
    before = small.embedding.bias.clone()
    fault = (
        r"2 fault\(s\): gn_root/scale is missing; embedding/kernel has shape \(1, 1, 5"
    )
    with pytest.raises(ValueError, match=fault):
        load_pretrained(small, tmp_path / "w.npz")
    assert torch.equal(before, small.embedding.bias)


def test_pickled_or_broken_weight_files_are_refused(small, tmp_path):
    np.savez(tmp_path / "pickled.npz", a=np.array([{}], dtype=object))
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 cut off")
    for name in ("pickled.npz", "broken.npz"):
        with pytest.raises(ValueError, match="plain numbers"):
            load_pretrained(small, tmp_path / name)


def test_unet_is_built_by_name_and_refuses_sizes_it_cannot_halve():
    model = networks.build("unet", n_classes=5, image_size=32, channels=[4, 8, 16])
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 5, 32, 32)
    with pytest.raises(ValueError, match="image_size must be a multiple of 8, got 36"):
        networks.build("unet", n_classes=5, image_size=36)


# --- the 3-D network whose skips are added ---


def additive(**change):
    config = dict(n_classes=3, image_size=8, in_channels=2, channels=[2, 4, 8])
    return networks.build(
        "additive_unet", **config | change, rng=np.random.default_rng(0)
    ).eval()


def volumes(*shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 2, *shape, generator=generator)


def test_the_additive_network_has_its_paper_s_parameters():
    """Two 3^3 convolutions a block, each with two numbers a channel to normalise by."""

    def block(n_in, n):
        return 27 * (n_in + n) * n + 4 * n

    ns = (32, 64, 128, 256)
    down = block(2, 32) + sum(block(n, 2 * n) for n in ns[:-1])
    up = sum(8 * 2 * n * n + n + block(n, n) for n in ns[:-1])
    model = networks.build("additive_unet", n_classes=5, image_size=32, in_channels=2)
    size = sum(p.numel() for p in model.parameters())
    assert size == down + up + 32 * 5 + 5 == 5_021_509


@torch.no_grad()
def test_skips_are_added_to_what_comes_up():
    """Without anything from below, it is block, block and head of the finest level."""
    model, x = additive(), volumes(8, 8, 8)
    model.up[0].weight.zero_()
    direct = model.head(model.out[0](model.down[0](x)))
    torch.testing.assert_close(model(x), direct)
    model.down[0][-3].weight.zero_()  # nothing in the skip, all as it comes from below
    model.down[0][-2].bias.zero_()
    assert not torch.allclose(model(x), direct)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(8, 8, 8), (4, 8, 12), (16, 20, 4)])
def test_any_volume_that_can_be_halved_is_segmented(shape):
    assert additive()(volumes(*shape)).shape == (1, 3, *shape)


@torch.no_grad()
def test_what_is_far_away_is_not_seen():
    """Three levels see about 2 + 4 + 8 + 4 + 2 voxels to each side."""
    model, x = additive(), volumes(8, 8, 80)
    other = x.clone()
    other[..., :8] += 1
    far = slice(60, None)
    torch.testing.assert_close(model(x)[..., far], model(other)[..., far])
    assert not torch.allclose(model(x)[..., :8], model(other)[..., :8])


def test_patches_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match="image_size must be a multiple of 4, got 6"):
        additive(image_size=6)


# DeepLab


def test_deeplab_has_the_published_size():
    """1.287 million; less the normalisation of the branch that sees the mean of all."""
    model = networks.build("deeplab", n_classes=3, image_size=64, in_channels=12)
    count = sum(weights.numel() for weights in model.parameters())
    assert count == 1_286_435 and round((count + 128) / 1e6, 3) == 1.287
    backbone = sum(weights.numel() for weights in model.backbone.parameters())
    assert round(backbone / 1e6, 3) == 0.165


def test_deeplab_learns_from_one_volume_of_any_size():
    config = dict(blocks=[(8, 4, 1), (8, 6, 2)], width=8, dropout=0)
    size = dict(n_classes=3, image_size=16, in_channels=2)
    model = networks.build("deeplab", **size, **config, rng=np.random.default_rng(0))
    images = torch.randn(1, 2, 17, 12, 9)
    logits = model.train()(images)
    assert logits.shape == (1, 3, 17, 12, 9)
    logits.square().mean().backward()
    assert all(weights.grad.isfinite().all() for weights in model.parameters())
