#!/usr/bin/env bash
# litdata 0.2.76 and mosaicml-streaming 0.13.0 (its encodings alone), pillow 13.0.0, Python 3.11.
#
# Input: a JPEG of 256 x 256 pixels, opened with Pillow, made smaller in place by thumbnail, which is how one keeps
# its proportions, and written as JPEG into a streaming data set.
# One would expect: the image that was given, of 32 x 32 pixels.
# What happens: both encoders see an image that came from a JPEG file and store the bytes of that file. Whatever was
# done in place, thumbnail, paste or a drawing that hides a face, is lost without an error.
# Seen: 256 x 256 from both; of a copy of the same image, 32 x 32.
#
# What our library does: it reads neither format; entropic_ae/data reads files and resizes them itself.
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
import io
import sysconfig
from pathlib import Path

from litdata.streaming.serializers import JPEGSerializer
from PIL import Image

# the module of the encodings alone: the package imports transformers and four clouds
path = Path(sysconfig.get_path("purelib"), "streaming/base/format/mds/encodings.py")
spec = importlib.util.spec_from_file_location("encodings", path)
mds = importlib.util.module_from_spec(spec)
spec.loader.exec_module(mds)

Image.new("RGB", (256, 256), (200, 30, 30)).save("photograph.jpg")
image = Image.open("photograph.jpg")
image.thumbnail((32, 32))


def stored(encode, image):
    return Image.open(io.BytesIO(encode(image))).size


found = {}
for name, encode in (("litdata", lambda x: JPEGSerializer().serialize(x)[0]), ("MDS", mds.JPEG().encode)):
    found[name] = stored(encode, image), stored(encode, image.copy())
    print(f"{name}: given {image.size}, stored {found[name][0]}; of a copy {found[name][1]}")
assert set(found.values()) == {((256, 256), (32, 32))}, found
PY
"$work/env/bin/python" look.py
echo "as described"
