"""The parts of a training: data, degradations, losses, discriminator, augmentation, geometry."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from restorer.errors import UnreadablePhotoError, UsageError
from restorer.imaging.tensors import to_pictures, to_tensor
from restorer.models.base import Face
from restorer.models.templates import FACEXLIB
from restorer.networks.discriminator import StyleGAN2Discriminator, grow_state
from restorer.networks.glean import Grain, LightGLEAN
from restorer.networks.gpen import GPEN
from restorer.networks.mobilefacenet import HEIGHT, TEMPLATE, WIDTH, MobileFaceNet, crop_faces, load_mobilefacenet
from restorer.networks.stylegan2 import StyleGAN2Generator, equalised_scales
from restorer.training.aligning import AlignedFaces
from restorer.training.augment import augment
from restorer.training.datasets import PictureSet, picture_files, read_square, split
from restorer.training.degradations import DEFAULTS, Degradation
from restorer.training.geometry import component, jitter, warp
from restorer.training.identity import identity_crops
from restorer.training.loop import Place, adam, follow
from restorer.training.losses import (
    diversity_loss,
    feature_loss,
    gram,
    path_lengths,
    pyramid_loss,
    r1_penalty,
    texture_loss,
)
from restorer.training.prior import PriorTrainer
from restorer.training.recipe import parse_recipe
from restorer.training.restorers import widen

STILL = np.array([[[1.0, 0, 0], [0, 1, 0]]])


def picture(size: int = 64, seed: int = 0) -> np.ndarray:
    """Return a smooth colour picture."""
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8))
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC))


# ----------------------------------------------------------------------------------------------------- data


def test_the_split_depends_on_seed_and_names_only() -> None:
    files = [Path(f"{index:03d}.png") for index in range(50)]
    training, kept = split(files, 10, seed=1)
    assert len(kept) == 10
    assert sorted(training + kept) == files
    assert split(files, 10, seed=1) == (training, kept)
    assert split(files, 10, seed=2)[1] != kept
    with pytest.raises(UsageError):
        split(files, 50, seed=1)


def test_folders_and_files_that_are_no_data_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        picture_files(tmp_path / "nowhere")
    with pytest.raises(UsageError):
        picture_files(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(UnreadablePhotoError):
        read_square(tmp_path / "broken.jpg", 8)


def test_a_picture_set_gives_middle_squares_and_mirrors(tmp_path: Path) -> None:
    wide = np.zeros((8, 16, 3), np.uint8)
    wide[:, 4:8] = 200
    Image.fromarray(wide).save(tmp_path / "a.png")
    pictures = PictureSet(picture_files(tmp_path), 8)
    assert (pictures[0][:, :4] == 200).all()
    assert (pictures[0][:, 4:] == 0).all()
    drawn = pictures.draw(40, np.random.default_rng(0), mirror=True)
    assert {int(p[0, 0, 0]) for p in drawn} == {0, 200}
    assert {int(p[0, 0, 0]) for p in pictures.draw(40, np.random.default_rng(0), mirror=False)} == {200}


def test_bytes_and_tensors_go_both_ways() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    assert (to_pictures(to_tensor([pixels]))[0] == pixels).all()
    assert to_pictures(torch.full((1, 3, 1, 1), 9.0))[0].max() == 255


class Finds:
    """A detector that knows where the face is."""

    def __init__(self, landmarks: np.ndarray) -> None:
        self.landmarks = landmarks

    def detect(self, pixels: np.ndarray) -> list[Face]:
        if pixels.max() == 0:
            return []
        return [Face((0, 0, 2, 2), self.landmarks * 0.1, 0.9), Face((0, 0, 80, 80), self.landmarks, 0.9)]


def test_photos_become_aligned_faces(tmp_path: Path) -> None:
    landmarks = (np.array(FACEXLIB.points) * 80 + (20, 10)).astype(np.float32)
    photo = np.full((120, 140, 3), 60, np.uint8)
    x, y = landmarks[2].astype(int)
    photo[y - 1 : y + 2, x - 1 : x + 2] = 255
    Image.fromarray(photo).save(tmp_path / "a.png")
    Image.fromarray(photo * 0).save(tmp_path / "nobody.png")
    faces = AlignedFaces(picture_files(tmp_path), Finds(landmarks), 40)
    assert [path.name for path in faces.files] == ["a.png"]
    crop = PictureSet(faces.files, 40, faces)[0].astype(float)[..., 0] - 60
    ys, xs = np.indices(crop.shape) + 0.5
    centre = np.array([(xs * crop).sum(), (ys * crop).sum()]) / crop.sum()
    assert centre == pytest.approx(np.array(FACEXLIB.points[2]) * 40, abs=0.6)
    with pytest.raises(UsageError):
        AlignedFaces(picture_files(tmp_path), Finds(landmarks), 400)


# ---------------------------------------------------------------------------------------------- degradations


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([16, 48, 64]))
def test_a_degradation_is_decided_by_its_generator(seed: int, size: int) -> None:
    degradation = Degradation.of({**DEFAULTS, "grey": 0.5, "jitter": 0.5}, size)
    clean = picture(size)
    first = degradation(clean, np.random.default_rng(seed))
    again = degradation(clean, np.random.default_rng(seed))
    assert first.enlarged().shape == clean.shape
    assert first.enlarged().dtype == np.uint8
    assert (first.enlarged() == again.enlarged()).all()
    truth = first.truth(clean)
    assert (np.ptp(truth, axis=2) == 0).all() if first.grey else (truth == clean).all()


def only(**given: object) -> dict[str, object]:
    """Return a degradation that does nothing but what is given."""
    nothing = {"sigma": [0.0, 0.0], "downsample": [1.0, 1.0], "noise": [0.0, 0.0], "jpeg": [100, 100]}
    return {**DEFAULTS, **nothing, "grey": 0.0, "jitter": 0.0, **given}


def error(values: dict[str, object], size: int = 64, weights: np.ndarray | None = None) -> float:
    """Return the mean squared error that a degradation makes, of the channels or of their weighted sum."""
    clean = picture(size)
    worse = [Degradation.of(values, size)(clean, np.random.default_rng(seed)) for seed in range(4)]
    differences = np.stack([w.enlarged().astype(float) - w.truth(clean) for w in worse])
    return float(np.mean((differences if weights is None else differences @ weights) ** 2))


def test_each_part_of_the_degradation_does_its_work() -> None:
    nothing = error(only())
    assert nothing < 3  # JPEG at 100
    assert error(only(sigma=[30.0, 30.0])) > 5 * nothing
    assert error(only(downsample=[128.0, 128.0])) > 10 * nothing
    assert error(only(jpeg=[5, 5])) > 10 * nothing
    assert error(only(jitter=1.0)) > 10 * nothing
    # The JPEG behind it halves the resolution of the colours, so the noise is whole in luma only.
    weights = np.array([0.299, 0.587, 0.114])
    noise = error(only(noise=[10.0, 10.0]), weights=weights)
    assert noise == pytest.approx(100 * (weights**2).sum(), rel=0.1)


def test_blur_and_reduction_shrink_with_the_picture() -> None:
    large, small = Degradation.of(DEFAULTS, 512), Degradation.of(DEFAULTS, 128)
    assert (large.kernel, large.sigma[1]) == (41, 10.0)
    assert (small.kernel, small.sigma[1]) == (11, 2.5)
    assert (large.downsample, small.downsample) == ((0.8, 8.0), (0.8, 2.0))


def test_a_range_that_falls_is_an_error() -> None:
    with pytest.raises(UsageError):
        Degradation.of({**DEFAULTS, "noise": [5, 1]}, 64)


# ---------------------------------------------------------------------------------------------------- losses


def test_r1_of_a_linear_discriminator_is_half_its_squared_weight() -> None:
    weight = torch.randn(3, 4, 4)
    pictures = torch.randn(5, 3, 4, 4, requires_grad=True)
    penalty = r1_penalty((pictures * weight).sum((1, 2, 3)), pictures)
    assert float(penalty.detach()) == pytest.approx(0.5 * float(weight.square().sum()), rel=1e-5)


def test_path_lengths_of_a_scaling_grow_with_it() -> None:
    latents = torch.randn(64, 3, 8, requires_grad=True)
    found = []
    for scale in (1.0, 3.0):
        torch.manual_seed(0)
        picture = (latents * scale).sum(1)[:, :, None, None].expand(-1, -1, 4, 4)
        found.append(float(path_lengths(picture, latents).mean().detach()))
    assert found[1] == pytest.approx(3 * found[0], rel=1e-4)


def test_losses_are_zero_for_what_was_wanted() -> None:
    features = [torch.randn(2, 4, 8, 8), torch.randn(2, 8, 4, 4)]
    assert float(feature_loss(features, features)) == 0
    assert float(feature_loss([2 * f for f in features], features)) == pytest.approx(1, rel=1e-3)
    assert gram(features[0]).shape == (2, 4, 4)
    wanted = torch.rand(1, 3, 8, 8)
    assert float(pyramid_loss([wanted, nn.functional.avg_pool2d(wanted, 2)], wanted)) == pytest.approx(0, abs=1e-6)


def test_texture_counts_as_right_when_it_is_alike_not_when_it_is_absent_or_repeats() -> None:
    def grain() -> torch.Tensor:
        fine = torch.randn(2, 1, 64, 64)
        return (0.05 * nn.functional.avg_pool2d(fine, 3, 1, 1) * 3).expand(-1, 3, -1, -1)

    wanted, other = grain(), grain()
    grid = 0.05 * torch.tensor([[1.0, -1], [-1, 1]]).repeat(32, 32).expand(2, 3, -1, -1)
    alike, flat = texture_loss(other, wanted), texture_loss(torch.zeros_like(wanted), wanted)
    assert texture_loss(wanted, wanted) == 0
    assert 2 * alike < flat
    assert 2 * alike < texture_loss(grid, wanted)
    smooth = torch.zeros(1, 3, 64, 64, requires_grad=True)
    texture_loss(smooth, wanted[:1]).backward()  # type: ignore[no-untyped-call]
    assert smooth.grad is not None
    assert smooth.grad.isfinite().all()


def test_decoder_noise_is_drawn_anew_in_training_and_stored_otherwise() -> None:
    torch.manual_seed(0)
    network = LightGLEAN(16, 64, style_channels=16, rrdb_channels=8, narrow=0.06, num_rrdbs=1, decoder_noise=True)
    picture = torch.zeros(2, 3, 16, 16)
    with torch.no_grad():
        drawn = network(picture)
        assert not torch.equal(drawn[0], drawn[1])
        network.eval()
        stored = network(picture)
        assert torch.equal(stored[0], stored[1])
        assert torch.equal(stored, network(picture))
        network.get_buffer("noise_64").zero_()
        assert not torch.equal(stored, network(picture))


def test_grain_is_as_strong_as_the_features_say() -> None:
    torch.manual_seed(0)
    grain = Grain(1)
    with torch.no_grad():
        grain.strength.weight[0, 0, 1, 1] = 4.0
        x = torch.zeros(1, 1, 64, 128)
        x[..., 64:] = 1.0
        found = grain(x, torch.randn(1, 1, 64, 128))
        assert float(found[..., :60].std()) == pytest.approx(math.log1p(math.exp(-5)), rel=0.1)
        assert float(found[..., 68:].std()) == pytest.approx(math.log1p(math.exp(-1)), rel=0.1)
        assert torch.equal(grain(x, torch.zeros(1, 1, 64, 128)), torch.zeros(1, 1, 64, 128))
    with pytest.raises(ValueError, match="noise"):
        LightGLEAN(16, 64, style_channels=16, rrdb_channels=8, narrow=0.06, num_rrdbs=1, decoder_grain=1.0)


def test_a_mirrored_network_is_symmetrical_and_its_grain_has_a_gain() -> None:
    torch.manual_seed(0)
    given = {"style_channels": 16, "rrdb_channels": 8, "narrow": 0.06, "num_rrdbs": 1, "decoder_noise": True}
    network = LightGLEAN(16, 64, **given, decoder_grain=3.0, mirrored=True).eval()  # type: ignore[arg-type]
    picture = torch.randn(1, 3, 16, 16)
    with torch.no_grad():
        result = network(picture)
        for side in network.noise_sides:
            noise = network.get_buffer(f"noise_{side}")
            noise.copy_(noise.flip(3))
        assert torch.allclose(network(picture.flip(3)).flip(3), result, atol=1e-5)
    grain = network.decoder.grain
    assert grain is not None
    noise = torch.randn(1, 1, 32, 32)
    x = torch.zeros(1, grain.strength.in_channels, 32, 32)
    with torch.no_grad():
        strong = grain(x, noise)
        assert torch.allclose(strong, 3 * grain.train()(x, noise))


def test_adam_moves_effective_weights_by_their_scale() -> None:
    network = StyleGAN2Generator(8, style_dim=4, n_mlp=1, narrow=0.01)
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    optimiser = adam(network, 0.01, (0.0, 0.99))
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    for name, factor in equalised_scales(network).items():
        moved = (before[name] - network.get_parameter(name).detach()).abs().max()
        assert float(moved) == pytest.approx(0.01 * factor, rel=1e-3)


def test_an_average_follows() -> None:
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    middle = (a.weight + b.weight).detach() / 2
    follow(a, b, 0.5)
    assert torch.allclose(a.weight, middle)
    follow(a, b, 0.0)
    assert torch.equal(a.weight, b.weight)


# --------------------------------------------------------------------------------------------- discriminator


def test_a_growing_discriminator_begins_as_the_smaller_one() -> None:
    torch.manual_seed(0)
    small = StyleGAN2Discriminator(16, narrow=0.03)
    large = StyleGAN2Discriminator(32, narrow=0.03)
    fresh = grow_state(small.state_dict(), large)
    assert all(key.startswith(("from_rgb.32", "blocks.32")) for key in fresh)
    pictures = torch.randn(4, 3, 32, 32)
    expected = small(nn.functional.avg_pool2d(pictures, 2))
    assert torch.allclose(large(pictures, alpha=0.0), expected, atol=1e-5)
    assert not torch.allclose(large(pictures), expected, atol=1e-2)


def test_the_discriminator_sees_how_alike_a_group_is() -> None:
    torch.manual_seed(0)
    network = StyleGAN2Discriminator(8, narrow=0.05)
    one = torch.randn(1, 3, 8, 8)
    alike = network(one.expand(4, -1, -1, -1))
    assert torch.allclose(alike, alike[:1].expand(4, -1))
    alone = network(one)
    mixed = network(torch.cat([one, torch.randn(3, 3, 8, 8)]))
    assert torch.allclose(alone, alike[:1], atol=1e-3)
    assert not torch.allclose(mixed[:1], alike[:1], atol=1e-3)


# ---------------------------------------------------------------------------------- augmentation and geometry


@pytest.mark.parametrize("kind", ["color", "translation", "cutout"])
def test_augmentation_is_random_and_differentiable(kind: str) -> None:
    torch.manual_seed(1)
    pictures = torch.rand(4, 3, 16, 16, requires_grad=True)
    changed = augment(pictures, [kind])
    assert changed.shape == pictures.shape
    assert not torch.equal(changed[0], changed[1])
    torch.autograd.backward([changed.sum()])
    assert pictures.grad is not None
    assert float(pictures.grad.abs().sum()) > 0


def test_translation_moves_whole_pixels() -> None:
    torch.manual_seed(0)
    pictures = torch.rand(16, 3, 16, 16) + 1
    moved = augment(pictures, ["translation"])
    kept = set(pictures.flatten().tolist()) | {0.0}
    assert set(moved.flatten().tolist()) <= kept
    with pytest.raises(UsageError):
        augment(pictures, ["rotation"])


def test_a_warp_and_its_matrix_agree() -> None:
    rng = np.random.default_rng(0)
    dots = np.zeros((64, 64, 3), np.uint8)
    dots[20:23, 30:33] = 255
    matrix = jitter(64, 0.1, 0.1, 10, rng)
    moved = warp(dots, matrix).astype(float)[..., 0]
    ys, xs = np.indices(moved.shape) + 0.5
    centre = np.array([(xs * moved).sum(), (ys * moved).sum()]) / moved.sum()
    assert centre == pytest.approx(matrix @ (31.5, 21.5, 1), abs=0.15)


def test_identity_crops_put_the_landmarks_on_the_template() -> None:
    matrices = identity_crops(256, STILL)
    points = np.array(TEMPLATE) @ matrices[0, :, :2].numpy().T + matrices[0, :, 2].numpy()
    assert np.abs(points - np.array(FACEXLIB.points) * 256).max() < 4  # two templates of the same face


def test_crops_follow_a_moved_face() -> None:
    still = to_tensor([picture(64)])
    matrix = jitter(64, 0.1, 0.05, 10, np.random.default_rng(3))[None]
    moved = to_tensor([warp(picture(64), matrix[0])])
    crops = [crop_faces(still, identity_crops(64, STILL)), crop_faces(moved, identity_crops(64, matrix))]
    assert crops[0].shape == (1, 3, HEIGHT, WIDTH)
    assert float((crops[0] - crops[1]).abs().mean()) < 0.03
    mouths = [component(still, "mouth", STILL, 24), component(moved, "mouth", matrix, 24)]
    assert float((mouths[0] - mouths[1]).abs().mean()) < 0.03
    other = component(still, "left_eye", STILL, 24)
    assert float((mouths[0] - other).abs().mean()) > 0.06


def test_a_widened_bank_begins_as_the_prior() -> None:
    torch.manual_seed(0)
    prior = StyleGAN2Generator(16, style_dim=8, n_mlp=2, narrow=0.02)
    nn.init.normal_(prior.conv1.bias)
    network = GPEN(16, style_dim=8, n_mlp=2, narrow=0.02)
    assert widen(prior.state_dict(), network.generator) == []
    w = torch.randn(2, 8)
    silent = [torch.zeros(prior.noise_shape(index)) for index in range(prior.num_convs)]
    features = [
        torch.randn(2, network.generator.widths[shape[2]], *shape[2:])
        for shape in map(prior.noise_shape, range(prior.num_convs))
    ]
    expected = prior.synthesize(w, silent)
    assert torch.allclose(network.generator.synthesize(w, features), expected, atol=1e-4)


def test_a_stage_without_noise_draws_the_same_face_whatever_the_noise(tmp_path: Path) -> None:
    Image.fromarray(picture(16)).save(tmp_path / "a.png")
    text = (
        'recipe = "prior"\nname = "quiet"\n[network]\nstyle_dim = 8\nn_mlp = 1\nnarrow = 0.02\n'
        "[discriminator]\nnarrow = 0.02\n[[stages]]\nsize = 8\npictures = 4\nbatch = 2\nnoise = {noise}\n"
    )
    for strength in (0.0, 1.0):
        recipe = parse_recipe(text.replace("{noise}", str(strength)), tmp_path, "test")
        trainer = PriorTrainer(recipe, tmp_path, Place(torch.device("cpu")))
        torch.nn.init.ones_(trainer.generator.conv1.noise_gain)
        w = torch.randn(1, trainer.generator.num_latents, 8)
        first, second = trainer._pictures(w), trainer._pictures(w)
        assert torch.equal(first, second) == (strength == 0)
        assert float(trainer.generator.get_buffer("noise_0").abs().sum()) == 0 or strength > 0


def test_diversity_costs_what_pairs_share_beyond_the_margin() -> None:
    apart, one = torch.eye(3, 8), torch.ones(1, 8)
    assert float(diversity_loss(apart)) == 0
    assert float(diversity_loss(one.expand(4, 8), margin=0.3)) == pytest.approx(0.7**2)
    assert float(diversity_loss(torch.cat([apart, 5 * apart[:1]]), margin=0.4)) == pytest.approx(0.6**2 / 6)


def test_a_prior_learns_to_draw_faces_that_differ(tmp_path: Path) -> None:
    """With an identity network, and with nothing else to learn, the likeness of what it draws falls."""
    Image.fromarray(picture(16)).save(tmp_path / "a.png")
    torch.manual_seed(0)
    torch.save({"net_state_dict": MobileFaceNet().state_dict()}, tmp_path / "identity.ckpt")
    text = (
        'recipe = "prior"\nname = "differing"\nidentity_weights = "identity.ckpt"\ndiversity = 1.0\n'
        "diversity_every = 2\npath_every = 0\n[network]\nstyle_dim = 8\nn_mlp = 1\nnarrow = 0.05\n"
        "[discriminator]\nnarrow = 0.02\n[[stages]]\nsize = 16\npictures = 96\nbatch = 4\nlr = 0.01\n"
        "discriminator_lr = 0.0\nnoise = 0.0\n"
    )
    trainer = PriorTrainer(parse_recipe(text, tmp_path, "test"), tmp_path, Place(torch.device("cpu")))
    for parameter in trainer.discriminator.parameters():
        torch.nn.init.zeros_(parameter)  # it likes everything
    found = [trainer.step(step).get("alike") for step in range(1, 25)]
    assert found[0] is None
    assert found[1] is not None
    assert sum(float(alike) for alike in found[-6:] if alike is not None) < 0.7 * sum(
        float(alike) for alike in found[:6] if alike is not None
    )


def test_mobilefacenet_tells_faces_apart(shared: Path) -> None:
    network = load_mobilefacenet(shared / "weights/mobilefacenet_068.ckpt")
    files = picture_files(shared / "data/faces256")[:6]
    faces = to_tensor([read_square(path, 128) for path in files])
    matrices = identity_crops(128, np.repeat(STILL, len(files), axis=0))
    with torch.no_grad():
        embeddings = nn.functional.normalize(network(crop_faces(faces, matrices)))
        mirrored = nn.functional.normalize(network(crop_faces(faces, matrices).flip(3)))
    alike = embeddings @ mirrored.T
    assert float(alike.diagonal().min()) > 0.8
    assert float((alike - torch.diag(alike.diagonal())).max()) < 0.6
