"""The study of a GPU, as far as it goes without one."""

import numpy as np
import pytest
import torch

from experiments.studies.gpu.__main__ import line, main
from experiments.studies.gpu.table import Row, photographs


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "this study needs a GPU that torch can use"),
        (["--device", "cpu"], "this study needs a GPU that torch can use"),
        (["--device", "cuda"], "device 'cuda' cannot be used; set DEVICE=cpu"),
        (["--bogus"], "unrecognized arguments: --bogus"),
    ],
)
def test_without_a_gpu_it_says_so_in_one_line_and_exits_with_2(capsys, arguments, text):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and text in line


def test_a_line_shows_the_figure_what_stands_beside_it_and_their_ratio():
    row = Row("training", 188.4, "pairs/s", "pytorch/examples", 60.9, ">= 3")
    assert line(row) == "| training | 188.4 pairs/s | pytorch/examples 60.9 | 3.09 | >= 3 |"
    assert line(Row("apart", 0.0, "", "twice", 0.0)) == "| apart | 0  | twice 0 |  |  |"


def test_the_images_are_the_same_every_time_and_use_the_whole_range():
    images = photographs(20, 32)
    assert images.shape == (20, 32, 32, 3) and images.dtype == np.uint8
    assert np.array_equal(images, photographs(20, 32)) and images.min() < 20 and images.max() > 230
