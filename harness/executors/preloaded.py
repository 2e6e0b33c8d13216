"""What the fork server imports once, so that no worker has to; nothing here may start a thread or touch a GPU."""

import torch._dynamo  # noqa: F401 - every optimizer imports it at its first step, which takes a second

import harness.executors.serving  # noqa: F401
from harness.executors.signals import die_with_parent

die_with_parent()
