#!/usr/bin/env bash
# litdata 0.2.76 and mosaicml-streaming 0.13.0 (its encodings alone), pillow 13.0.0, Python 3.11.
#
# Input: a PNG of 16 colours with a palette, opened with Pillow and written into a streaming data set: litdata's
# BinaryWriter, and the encoding "pil" of MDS.
# One would expect: the image that was written.
# What happens: both keep the mode, the size and the bytes, which are indices, and drop the palette. What comes back
# has the mode P with an empty palette, so it converts to RGB without an error, and is black. A folder of palette PNGs
# or GIFs becomes a data set of black images.
# Seen: both return the right indices, and 1,024 black pixels after conversion; the encoding "png" of MDS returns all.
#
# What our library does: it reads neither format; it converts palettes when it reads an image.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pillow==13.0.0 lightning-utilities==0.15.3 \
  filelock==4.3.1 boto3==1.44.8 requests==2.34.2 urllib3==2.8.0 tifffile==2026.3.3 obstore==0.12.1 tqdm==4.70.1
"$work/env/bin/pip" install --quiet --no-deps litdata==0.2.76 mosaicml-streaming==0.13.0
cd "$work"
cat > look.py <<'PY'
import importlib.util
import sysconfig
from pathlib import Path

import numpy as np
from litdata import StreamingDataset
from litdata.streaming.writer import BinaryWriter
from PIL import Image

# the module of the encodings alone: the package imports transformers and four clouds
path = Path(sysconfig.get_path("purelib"), "streaming/base/format/mds/encodings.py")
spec = importlib.util.spec_from_file_location("encodings", path)
mds = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mds)

colours = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
Image.fromarray(colours).quantize(16).save("palette.png")
image = Image.open("palette.png")
writer = BinaryWriter("set", chunk_size=10)
writer[0] = {"image": image}
writer.done()
writer.merge(1)
outputs = {
    "litdata": StreamingDataset("set")[0]["image"],
    "MDS, pil": mds.PIL().decode(mds.PIL().encode(image)),
    "MDS, png": mds.PNG().decode(mds.PNG().encode(image)),
}
right = {}
for name, output in outputs.items():
    assert output.mode == "P" and np.array_equal(np.asarray(output), np.asarray(image)), name
    equal = (np.asarray(output.convert("RGB")) == np.asarray(image.convert("RGB"))).all(axis=-1)
    right[name] = int(equal.sum())
    black = not np.asarray(output.convert("RGB")).any()
    print(f"{name}: {right[name]} of {equal.size} pixels have their colour; all black: {black}")
    assert black == (name != "MDS, png")
assert right["MDS, png"] == 1024, right
PY
"$work/env/bin/python" look.py
echo "as described"
