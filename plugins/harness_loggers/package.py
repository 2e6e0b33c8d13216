"""Whether a package is here."""

from __future__ import annotations

from importlib.util import find_spec

from harness import UserError


def require(package: str, logger: str) -> None:
    """Make sure that a logger's package can be imported, without importing it.

    Raises:
        UserError: if it is not installed.
    """
    if find_spec(package) is None:
        raise UserError(
            f"--log {logger} needs the package {package}, which is not installed: "
            f"pip install 'sparsity-harness[{logger}]', or leave the logger out (--log, $HARNESS_LOG)"
        )
