"""IMDB: film reviews, for or against."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from harness import Benchmark, CorruptFile, DataMissing, DataSpec, Measurement, Metric, Split, data_directory
from harness.storage.digests import described
from harness_benchmarks.review_ids import Part, review_ids
from harness_benchmarks.reviews import LINE_BREAK, Review, content, fetch_reviews, read_reviews
from harness_benchmarks.texts import Texts
from harness_benchmarks.word_pieces import BERT, TextTokenizerName, WordPieces, fetch_vocabulary


class ImdbSentimentOptions(BaseModel):
    """Options of ``imdb_sentiment``."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    length: int = Field(default=512, ge=3)
    """Tokens of a review at most; the rest is cut off."""
    line_breaks: bool = False
    """Whether reviews keep their ``<br />``, as published. Copies whose training reviews have lost them cannot be used
    then."""
    tokenizer: TextTokenizerName = BERT
    """``bert-base-uncased``, ``bytes``, one of tiktoken's encodings, or the path of a tokenizers JSON, relative to the
    suite or the data directory."""
    validation_size: int = Field(default=2500, ge=0, lt=25_000)
    """Training reviews held out for validation, the same ones for every seed and method; 0 trains on all and has no
    validation metrics."""
    train_size: int | None = Field(default=None, ge=1)
    """Training reviews to use, as many of either kind; by default all that are not held out."""
    test_size: int = Field(default=25_000, ge=1, le=25_000)
    """Test reviews to score, as many of either kind: the same ones whenever there are fewer than all."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        left = 25_000 - self.validation_size
        if self.train_size is not None and self.train_size > left:
            raise ValueError(f"train_size {self.train_size} is more than the {left} reviews that are not held out")
        return self


class ImdbSentiment(Benchmark[ImdbSentimentOptions]):
    """25,000 training and 25,000 test reviews of films, half of them for the film and half against it.

    The official test split is the test split. Within a class the digest of a review without line breaks says where it
    stands, and classes alternate: validation is the first ``validation_size`` training reviews, training the next
    ``train_size``, whatever the order in the files. Texts that come more than once in training (188 of the official
    reviews) stand last and so are not held out; 123 texts of the test stand in training too.

    The official training reviews are taken, and those of a copy that has lost all markup, while its test reviews have
    theirs. Line breaks are therefore left out of both, unless the official ones are asked for; the copies then differ
    in 26 reviews, and ``source`` in a record says which it was. Token ids are kept beside the files once they are made.

    Source: Maas et al. 2011, "Learning Word Vectors for Sentiment Analysis". Licence: none stated.

    Attributes:
        sizes: number of training reviews (validation included) and of test reviews.
        content: of the reviews that are taken for training and for testing, the official ones first.
        eval_batch_size: fixed, so that scores do not depend on the machine.
    """

    Options: ClassVar = ImdbSentimentOptions
    metrics = (Metric("accuracy", "fraction", "max"), Metric("loss", "nats", "min"))
    sizes: ClassVar[tuple[int, int]] = (25_000, 25_000)
    content: ClassVar[tuple[Sequence[str], Sequence[str]]] = (
        (
            "2c2e19e70d06718bdf6aee0f6b123fe6e78dad2d23576067b7737ae87bce215f",
            "86b513213895ad62e014769095b9fbc35cd6f9565c51b810c7c78ae55cd1e0dc",
        ),
        ("f1ea241dcb7668e3ea1f7760e46eb4e219187ace74f0746f8ff1ccd5017be6bd",),
    )
    eval_batch_size: ClassVar[int] = 64

    def __init__(self, options: ImdbSentimentOptions) -> None:
        super().__init__(options)
        tested = min(options.test_size, self.sizes[1])
        which = "the 25,000 official test reviews" if tested == 25_000 else f"{tested:,} of the official test reviews"
        marked = "with" if options.line_breaks else "without"
        self.protocol = (
            f"accuracy on {which}, {marked} line breaks, of their first {options.length} tokens ({options.tokenizer})"
        )
        self._splits: dict[torch.device, dict[str, Texts]] = {}

    @property
    def _pieces(self) -> WordPieces:
        return WordPieces(self.options.tokenizer, self.options.length)

    def spec(self) -> DataSpec:
        """Known without the reviews."""
        pieces, examples = self._pieces, self.options.train_size or self.sizes[0] - self.options.validation_size
        return DataSpec(
            "text_classification",
            (self.options.length,),
            2,
            examples,
            tokenizer=pieces.identity,
            vocabulary=pieces.vocabulary,
            padding=pieces.padding,
        )

    def examples(self, split: Split) -> int:
        """Known without the reviews."""
        return min(self.options.test_size, self.sizes[1]) if split == "test" else self.options.validation_size

    def fingerprint(self) -> str:
        """Also the content of a tokenizer's file."""
        return f"{self.version}{self._pieces.content}"

    def data_source(self) -> Mapping[str, Any]:
        """The files."""
        return described(_folder(), _files())

    def training_data(self, device: torch.device) -> Texts:
        """The training reviews without those held out for validation."""
        return self._split("train", device)

    def evaluate(
        self, model: Callable[[Tensor], Tensor], split: Split, device: torch.device
    ) -> Mapping[str, Measurement]:
        """Accuracy of the larger logit, and mean cross-entropy in nats; empty without validation reviews.

        Reviews of like length are scored together.
        """
        texts = self._split(split, device)
        if not len(texts):
            return {}
        order = texts.lengths.argsort(stable=True)
        losses, correct = [], []
        with torch.no_grad():
            for indices in torch.split(order, self.eval_batch_size):
                inputs, labels = texts.batch(indices)
                logits = model(inputs).float()
                losses.append(F.cross_entropy(logits, labels, reduction="none"))
                correct.append(logits.argmax(dim=1) == labels)
        back = order.argsort()
        return {
            "accuracy": Measurement.mean(torch.cat(correct).cpu()[back], each="review"),
            "loss": Measurement.mean(torch.cat(losses).cpu()[back], each="review"),
        }

    def files(self) -> Sequence[Path]:
        """The reviews, and the tokenizer's."""
        return [*_files(), *self._pieces.files]

    def disk_bytes(self) -> int:
        """Of the reviews as they are kept, packed."""
        return 26_000_000

    def prepare(self, download: bool = True) -> None:
        """Get what is missing from the Hugging Face hub and make the ids; other processes see whole files or none."""
        there = all(path.is_file() for path in self.files())
        if not download:
            if not there:
                raise DataMissing(self._missing())
            return
        try:
            for split, path in zip(("train", "test"), _files(), strict=True):
                if not path.is_file():
                    fetch_reviews(split, path)
            if self.options.tokenizer == BERT:
                fetch_vocabulary()
        except (OSError, ValueError) as error:  # datasets: ConnectionError, DatasetNotFoundError
            raise DataMissing(f"{self._missing()} The download failed: {error}") from error
        self._ids()

    def verify(self) -> Sequence[str]:
        """One line per file that is missing, and per part that has other reviews."""
        if missing := [path for path in self.files() if not path.is_file()]:
            return [f"{path} is missing: run `harness data prepare imdb_sentiment`" for path in missing]
        problems = []
        for part in (0, 1):
            try:
                self._official(part)
            except CorruptFile as error:
                problems.append(str(error))
        return problems

    def _split(self, split: str, device: torch.device) -> Texts:
        if device not in self._splits:
            self.prepare(download=False)
            held_out, used = self.options.validation_size, self.options.validation_size + self.spec().examples
            train, test = self._ids()
            spans = {
                "validation": (train, slice(held_out)),
                "train": (train, slice(held_out, used)),
                "test": (test, slice(self.examples("test"))),
            }
            self._splits[device] = {
                name: Texts.of(ids[span], labels[span], self._pieces.padding, device)
                for name, ((ids, labels), span) in spans.items()
            }
        return self._splits[device][split]

    def _ids(self) -> Sequence[Part]:
        """Ids and labels of all reviews in the fixed order, for training and for testing."""
        return review_ids(_files(), self._official, self._pieces, self.options.line_breaks)

    def _official(self, part: int) -> list[Review]:
        """The reviews for training (0) or testing (1), as they are in the file.

        Raises:
            CorruptFile: if they are not the official ones, nor those of the known copy where that will do.
        """
        path, known = _files()[part], self.content[part]
        reviews = read_reviews(path)
        if (found := content(reviews)) not in known:
            raise CorruptFile(
                f"{path} does not hold IMDB's {self.sizes[part]:,} reviews: delete it and prepare the data"
            )
        if self.options.line_breaks and found != known[0]:
            raise CorruptFile(
                f"the reviews in {path} have lost their {LINE_BREAK}: leave out line_breaks: true, or delete the file "
                "and prepare the data"
            )
        return reviews

    def _missing(self) -> str:
        missing = [path for path in self.files() if not path.is_file()]
        return (
            f"imdb_sentiment: {', '.join(path.name for path in missing)} not found in {missing[0].parent}. Run "
            "`harness data prepare imdb_sentiment` on a machine with internet, or put tables with the columns text "
            "and label (0 against, 1 for) there. HARNESS_DATA names another data directory (now "
            f"{data_directory()})."
        )


def _folder() -> Path:
    return data_directory() / "imdb"


def _files() -> list[Path]:
    return [_folder() / f"imdb_{split}.csv.gz" for split in ("train", "test")]
