"""Perplexity on WikiText-103 and WikiText-2."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from harness import data_directory
from harness_language.evaluations.perplexity import SlidingPerplexity, SlidingPerplexityOptions
from harness_language.evaluations.source import PublishedFile


class WikitextOptions(SlidingPerplexityOptions):
    """Options of ``wikitext_103`` and ``wikitext_2``."""

    join: Literal["none", "blank_lines"] = "blank_lines"
    """``blank_lines`` is how scripts read it that join the rows of the Hugging Face copy by an empty line, among
    them Neural DNA's; ``none`` reads the file as it is."""
    form: Literal["raw", "tokens"] = "raw"
    """``raw`` has all words; in ``tokens`` rare ones are ``<unk>``, and those of WikiText-2 and -103 differ."""
    split: Literal["test", "valid"] = "test"
    """Which file gives the test score."""


class Wikitext103(SlidingPerplexity[WikitextOptions]):
    """Sliding-window perplexity on WikiText-103.

    By default as Sudarshan 2026 (Neural DNA) reports it: raw, lines joined by blank lines, not detokenized, per
    BPE token, window 1024, stride 512. Radford et al. 2019 (GPT-2) detokenize, with unpublished rules, and
    report per word: ``detokenize: wikitext`` and ``word_perplexity`` come near it. The raw test articles are
    those of WikiText-2. Files as in the official archives: ``wikitext-103-raw/wiki.test.raw`` or
    ``wikitext-103/wiki.test.tokens`` below the data directory.

    Source: Merity et al. 2016, "Pointer Sentinel Mixture Models", arXiv:1609.07843. Licence: CC BY-SA.
    """

    Options: ClassVar = WikitextOptions
    name: ClassVar = "wikitext_103"
    choices: ClassVar = {"form": ("raw", "tokens"), "split": ("test", "valid")}
    stem: ClassVar[str] = "wikitext-103"
    sha256: ClassVar[dict[str, str]] = {
        "raw": "91c00ae287f0d699e18605c84afc9e45c192bc6b7797ff8837e5474655a33794",
        "tokens": "242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590",
    }

    @property
    def file(self) -> Path:
        """The split's file in the folder of its archive."""
        return data_directory() / self._folder / f"wiki.{self.options.split}.{self.options.form}"

    @property
    def source(self) -> PublishedFile:
        """The first author's own copy of the official archive."""
        form = self.options.form
        members = tuple(f"{self._folder}/wiki.{split}.{form}" for split in ("test", "valid"))
        return PublishedFile(f"https://wikitext.smerity.com/{self._folder}-v1.zip", self.sha256[form], members)

    def describe(self) -> str:
        """Also names the set, as both have the same file names."""
        return f"{self.stem}: {super().describe()}"

    @property
    def _folder(self) -> str:
        return f"{self.stem}-raw" if self.options.form == "raw" else self.stem


class Wikitext2(Wikitext103):
    """Sliding-window perplexity on WikiText-2, in the same way; folders ``wikitext-2-raw`` and ``wikitext-2``.

    Source: Merity et al. 2016, "Pointer Sentinel Mixture Models", arXiv:1609.07843. Licence: CC BY-SA.
    """

    name: ClassVar = "wikitext_2"
    stem: ClassVar[str] = "wikitext-2"
    sha256: ClassVar[dict[str, str]] = {
        "raw": "ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11",
        "tokens": "92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c",
    }
