"""Uploading a folder to the Hugging Face hub as a dataset repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.extras import require

_PART = r"[A-Za-z0-9](?:[\w.-]{0,94}\w)?"


def require_name(repository: str) -> None:
    """Do nothing where a name is one that the hub takes.

    Raises:
        UserError: if it is not ``USER/NAME``.
    """
    if not re.fullmatch(f"{_PART}/{_PART}", repository, re.ASCII) or re.search(r"--|\.\.|\.git$", repository):
        raise UserError(
            f"'{repository}' is no name of a repository: give USER/NAME, each of letters, digits, -, _ and . (not two "
            "of - or . in a row, and none of them first or last), at most 96 characters"
        )


def connect() -> Any:
    """The hub's client with the user's token.

    Raises:
        NotInstalled: without huggingface_hub.
        UserError: if it is offline, or nobody is logged in.
    """
    require("huggingface_hub", what="publishing")
    from huggingface_hub import HfApi, constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set: unset it to publish, or only write the folder with --output DIR")
    if get_token() is None:
        raise UserError(
            "nobody is logged in to the hub: run `hf auth login`, or set HF_TOKEN to a token that may write"
        )
    return HfApi()


def upload(api: Any, folder: Path, repository: str, private: bool) -> str:
    """Make the repository where there is none, and upload the folder in one commit; returns where it is.

    What an earlier upload has below ``results/`` and this one has not is deleted.

    Raises:
        UserError: if the hub cannot be reached or refuses, or the repository is there with another visibility.
    """
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        is_private = bool(api.repo_info(repository, repo_type="dataset").private)
        if is_private != private:
            there, asked = ("private", "public") if is_private else ("public", "private")
            raise UserError(f"{repository} is there already and {there}, and {asked} is asked for: nothing is uploaded")
        commit = api.upload_folder(
            repo_id=repository,
            repo_type="dataset",
            folder_path=folder,
            commit_message="Upload results of sparsity-harness",
            delete_patterns="results/*",
        )
    except UserError:
        raise
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        cause = next(iter(str(error.server_message or error).splitlines()), "")
        if status == 401:
            raise UserError(f"the hub does not take the token ({cause}): run `hf auth login` again") from error
        if status == 403:
            raise UserError(f"the token may not write to {repository} ({cause}): take one with write access") from error
        raise UserError(f"the hub refuses: {cause}") from error
    except Exception as error:  # the hub's client lets errors of several HTTP libraries through
        cause = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"the hub cannot be reached ({cause}): check the network, or only write the folder with --output DIR"
        ) from error
    return str(commit.repo_url)
