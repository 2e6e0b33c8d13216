"""Smaller networks of every architecture have the parameters that were asked for, or a few less."""

from __future__ import annotations

from typing import Any

import pytest

from harness import Architecture, DataSpec
from harness.analysis.grouping import TOLERANCE
from harness.testing import check_architecture
from harness_architectures.gpt2 import Gpt2, Gpt2Options
from harness_architectures.gpt_rope import GptRope
from harness_architectures.mlp import Mlp
from harness_architectures.scaling import parameter_count
from harness_architectures.skip_mlp import SkipMlp
from harness_biogpt.architecture import Biogpt
from harness_ndna.band_cnn import BandCnn
from harness_ndna.band_transformer import BandTransformer
from harness_ndna.band_video import BandVideo
from harness_vision.lenet import LeNet
from harness_vision.resnet import ResNet, ResNetOptions
from harness_vision.vgg import Vgg, VggOptions

DIGITS = DataSpec("classification", (1, 28, 28), 10, examples=10)
PICTURES = DataSpec("classification", (3, 32, 32), 10, examples=10)
BYTES = DataSpec("language", (128,), 256, examples=10, tokens=128)
REVIEWS = DataSpec("text_classification", (128,), 2, examples=10, vocabulary=1000)
VIDEO = DataSpec("video", (9, 32, 32), 32 * 32, examples=10)

CASES: list[tuple[type[Architecture[Any]], dict[str, Any], DataSpec]] = [
    (Mlp, {"hidden": [300, 100]}, DIGITS),
    (SkipMlp, {"hidden": [48] * 4}, DIGITS),
    (LeNet, {}, DIGITS),
    (ResNet, {"depth": 8}, PICTURES),
    (ResNet, {"depth": 20, "shortcut": "padding"}, PICTURES),
    (Vgg, {}, PICTURES),
    (BandCnn, {}, PICTURES),
    (Gpt2, {"n_layers": 4, "width": 128, "heads": 4}, BYTES),
    (GptRope, {"n_layers": 4, "width": 128, "heads": 4}, BYTES),
    (GptRope, {"n_layers": 4, "width": 128, "heads": 8, "ffn": 300}, BYTES),
    (Biogpt, {"n_layers": 2, "width": 128}, BYTES),
    (BandTransformer, {}, REVIEWS),
    (BandVideo, {}, VIDEO),
]


@pytest.mark.parametrize("density", [0.75, 0.5, 0.2, 0.1])
@pytest.mark.parametrize(("cls", "options", "data"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_a_smaller_network_may_be_set_against_masks(
    cls: type[Architecture[Any]], options: dict[str, Any], data: DataSpec, density: float
) -> None:
    whole = cls(cls.Options(**options), data)
    wanted = int(density * parameter_count(whole))
    small = whole.scaled(wanted)
    assert (1 - TOLERANCE) * wanted <= parameter_count(small) <= wanted
    again = cls.Options.model_validate(small.options.model_dump())  # as an export writes it down
    assert parameter_count(cls(again, data)) == parameter_count(small)
    assert whole.scaled(parameter_count(whole)).options == whole.options


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (ResNet, {"depth": 8, "width": [3, 8, 9]}),
        (ResNet, {"depth": 8, "width": [3, 8, 9], "shortcut": "padding"}),
        (Vgg, {"depth": 11, "width": [2, 3, 5, 4, 6]}),
    ],
)
def test_groups_may_have_widths_of_their_own(cls: type[Architecture[Any]], options: dict[str, Any]) -> None:
    check_architecture(cls, options, data=PICTURES)


def test_groups_that_fall_are_narrowed_too() -> None:
    whole = Vgg(VggOptions(depth=11, width=[20, 30, 50, 40, 60]), PICTURES)
    for density in (0.9, 0.5, 0.2):
        wanted = int(density * parameter_count(whole))
        small = whole.scaled(wanted)
        assert (1 - TOLERANCE) * wanted <= parameter_count(small) <= wanted
        assert all(new <= old for new, old in zip(small.options.widths, whole.options.widths, strict=True))


def test_one_width_stands_for_all() -> None:
    assert ResNetOptions(width=5).widths == [5, 10, 20]
    assert VggOptions(width=3).widths == [3, 6, 12, 24, 24]
    listed = ResNet(ResNetOptions(depth=8, width=[16, 32, 64]), PICTURES)
    assert parameter_count(listed) == parameter_count(ResNet(ResNetOptions(depth=8), PICTURES))
    with pytest.raises(ValueError, match=r"no group is narrower than the last: \[4, 3, 9\]"):
        ResNetOptions(width=[4, 3, 9], shortcut="padding")


def test_units_of_feed_forward_layers_count_before_their_multiple() -> None:
    options = {"n_layers": 1, "width": 8, "heads": 2}
    given = Gpt2(Gpt2Options(**options, ffn=24), BYTES)
    assert parameter_count(given) == parameter_count(Gpt2(Gpt2Options(**options, ffn_multiple=3), BYTES))
    assert given.connections()[4].shape == (24, 8)
