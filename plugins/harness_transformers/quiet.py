"""The transformers library, imported when it is needed and kept quiet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness import HarnessError, UserError
from harness.extras import require


def library() -> Any:
    """The module ``transformers``; untyped, because its types differ between versions.

    Raises:
        NotInstalled: if it is not there.
    """
    require("transformers", what="hf")
    import transformers

    return transformers


@contextmanager
def asked(what: str) -> Iterator[Any]:
    """The library for one request, without progress bars and reports.

    Args:
        what: what is asked for, for the message.

    Raises:
        UserError: for whatever the library raises; its errors have many types.
    """
    transformers = library()
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield transformers
    except HarnessError:
        raise
    except Exception as error:
        raise UserError(f"hf: transformers refuses {what}: {type(error).__name__}: {error}") from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
