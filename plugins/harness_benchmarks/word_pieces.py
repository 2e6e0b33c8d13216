"""How texts become token ids for a classifier: BERT's WordPiece, or one of the language plugin's tokenizers."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from harness import CorruptFile, DataMissing, data_directory
from harness.extras import require
from harness.storage.digests import digest_now
from harness_language.tokenizers import ENCODINGS, content_identity, tokenizer, tokenizer_files

BERT = "bert-base-uncased"
_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
_VOCABULARY = 30_522
_AT_ONCE = 1000
"""Texts; what the tokenizer returns for each takes a hundred times the memory of its ids."""


def _known(name: str) -> str:
    if name == "bytes" or name == BERT or name in ENCODINGS or name.endswith(".json"):
        return name
    raise ValueError(f"must be {BERT}, bytes, one of {', '.join(ENCODINGS)}, or the path of a tokenizer's .json file")


TextTokenizerName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"file": ".json"})]


class WordPieces:
    """A tokenizer of texts that are classified.

    BERT's (Devlin et al. 2019) gives [CLS] text [SEP] in lower case without accents, cut to ``length`` tokens in all;
    its padding is id 0. Others give the text's first tokens, and their padding is one id more than they have.

    Attributes:
        vocabulary: number of ids, the one for padding included.
        padding: that id.
        identity: what decides which ids a text gets.
    """

    def __init__(self, name: str, length: int) -> None:
        self.name, self.length = name, length
        if name == BERT:
            self.vocabulary, self.padding, self.identity = _VOCABULARY, 0, BERT
        else:
            own = tokenizer(name)
            self.vocabulary, self.padding, self.identity = own.vocabulary + 1, own.vocabulary, own.identity

    @property
    def files(self) -> list[Path]:
        """What it needs."""
        return [vocabulary_file()] if self.name == BERT else tokenizer_files(self.name)

    @property
    def content(self) -> str:
        """What a fingerprint must hold besides the name."""
        return "" if self.name == BERT else content_identity(self.name)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Ids of each text, at most ``length``.

        Raises:
            DataMissing: if the tokenizer's file is not here.
            CorruptFile: if it is another one.
        """
        if self.name != BERT:
            own = tokenizer(self.name)
            return [np.array(own.encode(text)[: self.length], np.int32) for text in texts]
        require("tokenizers", what=f"the tokenizer {BERT}")
        from tokenizers import BertWordPieceTokenizer  # late: few need it

        path = vocabulary_file()
        if not path.is_file():
            raise DataMissing(f"the vocabulary {path} does not exist: run `harness data prepare imdb_sentiment`")
        if digest_now(path) != _SHA256:
            raise CorruptFile(f"{path} is not the vocabulary of {BERT}: delete it and prepare the data again")
        coder = BertWordPieceTokenizer(str(path), lowercase=True)
        coder.enable_truncation(self.length)
        found: list[NDArray[np.int32]] = []
        for start in range(0, len(texts), _AT_ONCE):
            coded = coder.encode_batch(list(texts[start : start + _AT_ONCE]))
            found += [np.array(one.ids, np.int32) for one in coded]
        return found


def vocabulary_file() -> Path:
    """BERT's vocabulary, in the data directory."""
    return data_directory() / BERT / "vocab.txt"


def fetch_vocabulary() -> None:
    """Get BERT's vocabulary from the Hugging Face hub, if it is not here.

    Raises:
        OSError: if that fails.
    """
    path = vocabulary_file()
    if path.is_file():
        return
    require("huggingface_hub", what=f"the tokenizer {BERT}")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".vocab.", dir=path.parent) as folder:
        try:
            found = Path(hf_hub_download(f"google-bert/{BERT}", "vocab.txt", local_dir=folder))
        except HfHubHTTPError as error:
            raise OSError(str(error)) from error
        if digest_now(found) != _SHA256:
            raise CorruptFile(f"the vocabulary of {BERT} that the hub gives is another one")
        found.replace(path)
