import base64
import io
import json
import math
import zlib

import numpy as np
import pytest
from PIL import Image

from harness.report.html.packing import packed
from harness.report.html.png import png


def unpacked(text):
    return json.loads(zlib.decompress(base64.b64decode(json.loads(text))))


def test_packed_data_cannot_end_its_script_and_reads_as_it_was(hostile_results):
    value = {hostile_results.evil: [hostile_results.evil, "\u2028\u2029 \x00 \ud800 é & <!--", 0.1, None, True]}
    text = packed(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert text.isascii()
    assert unpacked(text) == value
    assert text == packed(value)


def test_numbers_that_json_does_not_have_become_null():
    assert unpacked(packed({"a": [math.nan, 1.5, (math.inf, -math.inf)]})) == {"a": [None, 1.5, [None, None]]}


def decoded(uri):
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("L"))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 64), (2, 9)])
def test_black_and_white_pictures_are_exact(shape):
    kept = np.random.RandomState(0).rand(*shape) < 0.5
    np.testing.assert_array_equal(decoded(png(kept.astype(np.uint8) * 255)), np.where(kept, 0, 255))


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (64, 63)])
def test_grey_pictures_are_right_to_a_sixteenth(shape):
    grey = np.random.RandomState(1).randint(0, 256, shape).astype(np.uint8)
    grey[0, 0] = 100
    shown = decoded(png(grey)).astype(int)
    assert np.abs(shown - (255 - grey.astype(int))).max() <= 9  # half of 255 / 15, rounded up
