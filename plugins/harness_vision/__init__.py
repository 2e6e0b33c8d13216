"""Networks that the field compares sparsity methods on, on pictures.

Builds on harness_architectures: how a network is made narrower, and its loss.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness import Entry, hookimpl


@hookimpl
def harness_register_architectures() -> Sequence[Entry]:
    """The architectures ``lenet``, ``resnet``, ``timm`` and ``vgg``."""
    return [
        Entry("lenet", "harness_vision.lenet:LeNet", "LeNet-5 as Caffe has it: two convolutions, two linear layers"),
        Entry("resnet", "harness_vision.resnet:ResNet", "residual network for small pictures: ResNet-20, -32, -56"),
        Entry(
            "timm",
            "harness_vision.timm_model:Timm",
            "any classifier of the timm library, by its name, with new weights",
        ),
        Entry("vgg", "harness_vision.vgg:Vgg", "VGG-16 or -19 with batch normalisation, for small pictures"),
    ]
