"""Sharing run folders on the Hugging Face Hub: what is pushed, the model card, and what comes back.

Everything here works on folders and JSON; ``runs`` builds models of them. What comes from the Hub may be
anybody's: only the files that a run folder has are downloaded, by their exact names, and none is a program.
"""

from entropic_ae.sharing.card import model_card
from entropic_ae.sharing.hub import fetch, push
from entropic_ae.sharing.names import EXTRAS, is_shared, repository, shareable

__all__ = ["EXTRAS", "fetch", "is_shared", "model_card", "push", "repository", "shareable"]
