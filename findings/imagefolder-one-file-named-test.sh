#!/usr/bin/env bash
# datasets 5.2.0 (Hugging Face), loader "imagefolder", pillow 13.0.0, Python 3.11.
#
# Input: a folder with two class folders and four sound images, one of which is called test_1.png.
# One would expect: one split of four images with their classes as labels. A file name below a class folder is no split.
# What happens: the only split is "test", with that one image and without a label. The other three images are in no
# split at all, and nothing is reported.
# Seen: {'test': (['image'], 1)}; with the file called 2.png: {'train': (['image', 'label'], 4)}.
#
# What our library does instead: entropic_ae/data/folders.py lists folders itself.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet datasets==5.2.0 pillow==13.0.0
cd "$work"
cat > look.py <<'PY'
from pathlib import Path

import datasets
from PIL import Image


def found(root, names):
    for name in names:
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(path)
    splits = datasets.load_dataset("imagefolder", data_dir=root)
    return {split: (list(rows.features), len(rows)) for split, rows in splits.items()}


datasets.disable_progress_bars()
plain = found("plain", ["cats/1.png", "cats/2.png", "dogs/1.png", "dogs/2.png"])
named = found("named", ["cats/1.png", "cats/2.png", "dogs/1.png", "dogs/test_1.png"])
print("with dogs/2.png:", plain)
print("with dogs/test_1.png:", named)
assert plain == {"train": (["image", "label"], 4)}, plain
assert named == {"test": (["image"], 1)}, named
PY
HF_DATASETS_CACHE="$work/cache" HF_HUB_OFFLINE=1 "$work/env/bin/python" look.py
echo "as described"
