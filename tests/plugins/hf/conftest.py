"""A folder with a model, and no network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from harness_transformers.network import HfNetwork

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise OSError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def saved(tmp_path: Path) -> Iterator[tuple[Path, HfNetwork]]:
    """A tiny GPT-2 in a folder, and the network that was saved."""
    from tiny_hf import GPT2, hf

    torch.manual_seed(5)
    network = hf(GPT2).build().eval()
    network.model.save_pretrained(tmp_path / "tiny")
    yield tmp_path / "tiny", network
