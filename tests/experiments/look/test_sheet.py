"""Pictures with words: images stay exact, words stand beside them, and the same input gives the same file."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from experiments.look.sheet import GAP, WIDEST, Block, layout, pairs, sheet


def images(rows, columns, side=32, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, side, side, channels), np.uint8)


def opened(png):
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@pytest.mark.parametrize(("side", "channels", "scale"), [(16, 3, 6), (28, 1, 4), (32, 3, 3), (64, 3, 2), (128, 1, 1)])
def test_images_are_exact_and_words_stand_beside_them(side, channels, scale):
    long = "a map of deconv2 that has a rather long name, Überlänge " + "w" * 60
    blocks = (
        Block(
            images(2, 3, side, channels), "trained", ["before", long], ["z 1", "a long name of a column", ""], (1, 1)
        ),
        Block(images(3, 1, side, channels, 1), f"random weights, {long}", ["", "gradient", "map 7"]),
    )
    placed, picture = layout(*blocks, title=long), opened(sheet(*blocks, title=long))
    assert placed.scale == scale and picture.shape[1::-1] == placed.size
    width, height = placed.size
    boxes = []
    for block, corners in zip(blocks, placed.corners, strict=True):
        for at in np.ndindex(corners.shape[:2]):
            x, y = corners[at]
            boxes.append((x, y, x + scale * side, y + scale * side))
            shown = picture[y : y + scale * side, x : x + scale * side]
            assert np.array_equal(shown, np.kron(block.images[at], np.ones((scale, scale, 3 // channels), np.uint8)))
    assert {" ".join(label.text.split()) for label in placed.labels} >= {"trained", "before", "z 1", "gradient"}
    assert len(placed.labels) == 1 + 2 + 2 + 2 + 2
    boxes += [label.box for label in placed.labels]
    for x0, y0, x1, y1 in boxes:
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
    assert not [pair for pair in itertools.combinations(boxes, 2) if overlap(*pair)]
    for label in placed.labels:
        x0, y0, x1, y1 = label.box
        assert (picture[y0:y1, x0:x1] < 100).any(), f"{label.text!r} is not drawn"

    outside = np.full(picture.shape[:2], True)
    for x0, y0, x1, y1 in boxes:
        outside[y0:y1, x0:x1] = False
    x, y = placed.corners[0][1, 1]
    framed = np.zeros_like(outside)
    framed[y - GAP : y + scale * side + GAP, x - GAP : x + scale * side + GAP] = True
    assert (picture[outside & framed] == 0).all() and (picture[outside & ~framed] == 255).all()


def test_other_words_give_another_picture_and_the_same_words_the_same():
    one = sheet(Block(images(1, 2), "trained"))
    assert sheet(Block(images(1, 2), "trained")) == one != sheet(Block(images(1, 2), "random"))


def test_a_picture_without_words_has_no_place_for_them():
    bare = layout(Block(images(2, 2)))
    assert bare.labels == [] and bare.corners[0][0, 0].tolist() == [GAP, GAP]


def test_words_can_be_read_at_800_pixels():
    for columns, side in ((3, 32), (8, 64), (12, 64), (16, 32)):
        placed = layout(Block(images(1, columns, side), "title", ["row"]))
        assert min(label.size for label in placed.labels) * min(1, 800 / placed.size[0]) >= 11


def test_many_images_are_enlarged_less_and_long_words_cut():
    assert layout(Block(images(1, WIDEST // 32 // 2, 32))).scale == 2
    assert layout(Block(images(1, 300, 32))).scale == 1
    assert layout(Block(images(1, 1)), title="w" * 10**6).size[1] < 4_000


def test_pairs_stand_four_in_a_row_each_with_its_partner():
    first, second = images(5, 2).swapaxes(0, 1)
    picture = opened(pairs(first, second, names=("sample", "nearest"), title="by pixels"))
    filled = np.concatenate([np.stack([first, second], 1), np.full((3, 2, 32, 32, 3), 255, np.uint8)]).reshape(
        2, 4, 2, 32, 32, 3
    )
    blocks = [Block(filled[:, i], columns=("sample", "nearest")) for i in range(4)]
    assert np.array_equal(picture, opened(sheet(*blocks, title="by pixels")))
    assert len(layout(*blocks).labels) == 8
    assert opened(pairs(first[:2], second[:2], names=("a", "b"), title="")).shape[1] < picture.shape[1] / 1.5


def test_what_does_not_fit_is_refused():
    for blocks in (
        (),
        (Block(images(1, 1)), Block(images(1, 1, 16))),
        (Block(images(0, 1)),),
        (Block(images(1, 1)[0]),),
    ):
        with pytest.raises(ValueError, match="images of one shape"):
            sheet(*blocks)
    with pytest.raises(ValueError, match="2 rows need as many labels"):
        sheet(Block(images(2, 1), rows=["one"]))
    with pytest.raises(ValueError, match="1 columns need as many labels"):
        sheet(Block(images(2, 1), columns=["one", "two"]))
