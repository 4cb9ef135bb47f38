"""Images as uint8 tensors, from registered data sets, folders, parquet and NumPy files, and the Hub."""

from entropic_ae.data.containers import array_named
from entropic_ae.data.copies import Copies, count_copies
from entropic_ae.data.formats import needed_for
from entropic_ae.data.hub import HUB_NAME, HUB_SETS
from entropic_ae.data.images import IN_MEMORY, DataWarning, Given, ImageData, LeftOutWarning, Split, fingerprint
from entropic_ae.data.loading import load_images, read_images
from entropic_ae.data.reading import fit_image, images_for, named_images_for
from entropic_ae.data.registered import DATASETS, RegisteredData
from entropic_ae.data.sources import PAGES

__all__ = [
    "DATASETS",
    "HUB_NAME",
    "HUB_SETS",
    "IN_MEMORY",
    "PAGES",
    "Copies",
    "DataWarning",
    "Given",
    "ImageData",
    "LeftOutWarning",
    "RegisteredData",
    "Split",
    "array_named",
    "count_copies",
    "fingerprint",
    "fit_image",
    "images_for",
    "load_images",
    "named_images_for",
    "needed_for",
    "read_images",
]
