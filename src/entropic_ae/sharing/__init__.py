"""Sharing run folders on the Hugging Face Hub: the pushed files, the model card, and downloads.

Everything here works on folders and JSON; ``runs`` builds the models. Runs on the Hub are not trusted: only the
files of a run folder are downloaded, by their exact names, and none of them is executable.
"""

from entropic_ae.sharing.card import model_card
from entropic_ae.sharing.hub import fetch, push
from entropic_ae.sharing.names import EXTRAS, is_shared, repository, shareable

__all__ = ["EXTRAS", "fetch", "is_shared", "model_card", "push", "repository", "shareable"]
