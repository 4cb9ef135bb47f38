"""State dicts of networks that others have trained, downloaded once and read without executing anything."""

from __future__ import annotations

import pickle
import urllib.error

import torch
from torch import Tensor

from entropic_ae.errors import InputError

__all__ = ["UNREADABLE", "downloaded"]

# What reading a damaged file raises: torch's restricted unpickler checks no operand of the bytes it reads.
UNREADABLE = (pickle.UnpicklingError, RuntimeError, ValueError, LookupError, EOFError, AttributeError, TypeError)


def downloaded(url: str, what: str, elsewhere: str, damaged: str) -> dict[str, Tensor]:
    """Return the state dict at an address, from the cache of ``torch.hub`` once it is there.

    Arguments:
        url: whose file name ends in the start of its hash, which is checked.
        what: the network, in error messages.
        elsewhere: what to do with the file if it comes from another machine.
        damaged: what to do besides deleting a damaged file.

    Raises: InputError if it cannot be downloaded, or is damaged.
    """
    try:
        return torch.hub.load_state_dict_from_url(
            url, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (urllib.error.URLError, OSError) as error:
        raise InputError(
            f"the {what} weights could not be downloaded ({error}); go online, or fetch {url} on another "
            f"machine and {elsewhere}."
        ) from None
    except UNREADABLE as error:  # the hash differs, or torch.hub's cached copy is damaged
        raise InputError(
            f"the {what} weights in {torch.hub.get_dir()} are damaged ({error}); delete them and try again, "
            f"or {damaged}."
        ) from None
