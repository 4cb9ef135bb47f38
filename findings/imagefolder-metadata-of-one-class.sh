#!/usr/bin/env bash
# datasets 5.2.0 (Hugging Face), loader "imagefolder", pillow 13.0.0, Python 3.11.
#
# Input: a folder with two class folders of two sound images each. One class folder has a metadata.csv that gives its
# two images a caption.
# One would expect: four images with labels, captions where there are some; or an error about images without metadata.
# What happens: the images of the other class are left out, the labels of all are gone, and nothing is reported.
# Seen: {'train': (['image', 'caption'], 2)}; without the file: {'train': (['image', 'label'], 4)}.
#
# What our library does instead: entropic_ae/data/folders.py lists folders itself and ignores such files.
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


def found(root, captions):
    for name in ("cats/1.png", "cats/2.png", "dogs/1.png", "dogs/2.png"):
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8)).save(path)
    if captions:
        Path(root, "cats", "metadata.csv").write_text("file_name,caption\n1.png,one cat\n2.png,another\n")
    splits = datasets.load_dataset("imagefolder", data_dir=root)
    return {split: (list(rows.features), len(rows)) for split, rows in splits.items()}


datasets.disable_progress_bars()
plain = found("plain", captions=False)
partly = found("partly", captions=True)
print("without metadata.csv:", plain)
print("with cats/metadata.csv:", partly)
assert plain == {"train": (["image", "label"], 4)}, plain
assert partly == {"train": (["image", "caption"], 2)}, partly
PY
HF_DATASETS_CACHE="$work/cache" HF_HUB_OFFLINE=1 "$work/env/bin/python" look.py
echo "as described"
