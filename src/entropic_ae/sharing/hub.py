"""Access to the Hub: push, download, and the Hub's errors as one-sentence InputErrors."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from entropic_ae.errors import InputError
from entropic_ae.sharing.contents import contents
from entropic_ae.sharing.names import CARD, EXTRAS, LIBRARY, check_shared, density_files, repository, sample_files
from entropic_ae.storage.examples import EXAMPLE, example_folder
from entropic_ae.storage.files import atomic_folder, check_free
from entropic_ae.storage.json_schema import shown
from entropic_ae.storage.run_folder import INFO_FILE, LOG, METRICS_FILE, PREFIX, TRANSPORT, WEIGHTS, RunFolder

__all__ = ["fetch", "push"]

_LOG_IN = "log in with hf auth login, or give a token (token=, HF_TOKEN)"


def fetch(source: str, *, token: str | None = None, out: str | Path | None = None) -> Path:
    """Download a run from the Hub, or find an example, and return its folder.

    Arguments:
        source: ``hf:owner/name`` or ``hf:owner/name@revision``, a branch, a tag or a commit; or ``example:NAME``.
        token: access token of the Hub; the default is that of ``hf auth login`` or ``HF_TOKEN``.
        out: folder for a copy of the run; it must be empty or not exist. By default the run stays where it is, in
            the Hub's cache or in the library, which are read-only.

    Raises: InputError if the run, revision or example does not exist, the Hub cannot be reached and the run is
        not cached, or the run names data or features that are not allowed in shared runs.

    >>> fetch("hf:name")
    Traceback (most recent call last):
        ...
    entropic_ae.errors.InputError: expected hf:owner/name or hf:owner/name@revision, got 'hf:name'.
    """
    target = None if out is None else Path(out)
    if target is not None:
        check_free(target)
    folder = example_folder(source) if source.startswith(EXAMPLE) else _downloaded(source, token)
    if target is None:
        return folder
    with atomic_folder(target) as whole:
        for file in _files():
            if (folder / file).is_file():
                (whole / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / file, whole / file)
    return target


def _downloaded(source: str, token: str | None) -> Path:
    """Return the folder of a run in the Hub's cache."""
    from huggingface_hub import snapshot_download

    from entropic_ae.version import __version__

    name, revision = repository(source)
    with _hub(name, revision):
        cached = Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=_files(),
                token=token,
                endpoint=_endpoint(),
                library_name=LIBRARY,
                library_version=__version__,
            )
        )
    if not (cached / INFO_FILE).is_file():
        raise InputError(f"{PREFIX}{name} is not a run of entropic-ae: it has no {INFO_FILE}; give another.")
    check_shared(RunFolder(cached).read_info(), source)
    return cached


def push(
    folder: Path,
    repo: str,
    *,
    private: bool = True,
    token: str | None = None,
    revision: str | None = None,
    message: str | None = None,
    license: str | None = None,
    include: Sequence[str] = (),
) -> str:
    """Push a run folder to a repository of the Hub, in one commit; see ``Run.push_to_hub``.

    Files of a run that are in the repository but no longer in the folder are deleted there; others stay.

    Returns: the address of the repository.

    Raises: InputError if the run is incomplete, a file is a link to outside of the folder, or the Hub refuses.
    """
    import huggingface_hub

    from entropic_ae.version import __version__

    name, marked = repository(repo)
    revision = revision or marked
    files = contents(folder, name, license, include)
    api = huggingface_hub.HfApi(
        endpoint=_endpoint(), token=token, library_name=LIBRARY, library_version=__version__
    )
    with _hub(name, revision):
        url = str(api.create_repo(name, private=private, exist_ok=True))
        if revision is not None:
            api.create_branch(name, branch=revision, exist_ok=True)
        ours = set(_files()) - {INFO_FILE, WEIGHTS, CARD}
        stale = ours.intersection(api.list_repo_files(name, revision=revision)) - set(files)
        operations: list[Any] = [huggingface_hub.CommitOperationDelete(file) for file in sorted(stale)]
        operations += [huggingface_hub.CommitOperationAdd(file, content) for file, content in files.items()]
        api.create_commit(
            name, operations, commit_message=message or "Push a run of entropic-ae", revision=revision
        )
    return url


def _files() -> list[str]:
    """Return the possible files of a run, by their exact names."""
    return [INFO_FILE, METRICS_FILE, WEIGHTS, TRANSPORT, LOG, CARD, *EXTRAS, *density_files(), *sample_files()]


def _endpoint() -> str | None:
    """Return the Hub's address from the environment, or None; the client reads it only at import."""
    return (os.environ.get("HF_ENDPOINT") or "").rstrip("/") or None


@contextmanager
def _hub(repo: str, revision: str | None) -> Iterator[None]:
    """Access the Hub with progress bars only on a terminal, and turn its errors into InputErrors."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        with _quiet():
            yield
    except GatedRepoError:
        raise InputError(
            f"{repo} is gated on the Hugging Face Hub: request access on its page, then {_LOG_IN}."
        ) from None
    except RepositoryNotFoundError:
        raise InputError(
            f"the Hugging Face Hub has no run '{repo}' that you can access; check the name, or if it is private "
            f"{_LOG_IN}."
        ) from None
    except RevisionNotFoundError:
        raise InputError(
            f"{repo} has no revision '{revision}' on the Hugging Face Hub; give a branch, a tag or a commit."
        ) from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        if status in (401, 403):
            raise InputError(f"the Hugging Face Hub does not permit this for {repo}; {_LOG_IN}.") from None
        raise InputError(f"the Hugging Face Hub refused ({_reason(error)}); try again later.") from None
    except HFValidationError as error:
        raise InputError(
            f"'{repo}' is not a valid name on the Hugging Face Hub ({_reason(error)}); give another."
        ) from None
    except LocalEntryNotFoundError as error:
        raise InputError(
            f"{repo} is not on this machine and the Hugging Face Hub cannot be reached "
            f"({_reason(error.__cause__ or error)}); go online."
        ) from None
    except InputError:
        raise
    except Exception as error:  # the class for being offline depends on the version of the Hub's client
        raise InputError(
            f"the Hugging Face Hub cannot be reached for {repo} ({_reason(error)}); go online."
        ) from None


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shown(lines[0], 120).strip("'\"").rstrip(":.") if lines else type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """Show the client's progress bars only on a terminal, and none of its messages."""
    from huggingface_hub import utils

    bars: Any = utils  # exports these functions, though not to type checkers
    verbosity = utils.logging.get_verbosity()
    hidden = not sys.stderr.isatty() and not bars.are_progress_bars_disabled()
    utils.logging.set_verbosity_error()
    if hidden:
        bars.disable_progress_bars()
    try:
        yield
    finally:
        utils.logging.set_verbosity(verbosity)
        if hidden:
            bars.enable_progress_bars()
