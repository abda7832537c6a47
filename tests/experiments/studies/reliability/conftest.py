"""One worker of the study, and a workplace without what takes training."""

import pytest

from experiments.studies.reliability import workplace
from experiments.studies.reliability.pool import Pool


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    base = tmp_path_factory.mktemp("workplace")
    with Pool(base, workplace.make(base), workers=1) as made:
        yield made
