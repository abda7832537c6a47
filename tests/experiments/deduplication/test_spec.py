"""The settings of a pass: what is refused, and the radius that the hashes get."""

import pytest

from experiments.deduplication.spec import HASHES, METHODS, DedupSpec


@pytest.mark.parametrize("method", METHODS)
def test_only_the_hashes_have_a_radius(method: str) -> None:
    assert DedupSpec(method).radius == (4 if method in HASHES else None)
    if method in HASHES:
        assert str(DedupSpec(method, 7)) == f"{method} at radius 7"
    else:
        assert str(DedupSpec(method)) == method
        with pytest.raises(ValueError, match=f"{method} takes no radius; leave it out, or name one of phash"):
            DedupSpec(method, 4)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_hashes_find_turned_copies(method: str) -> None:
    if method in HASHES:
        spec = DedupSpec(method, turned=True)
        assert str(spec) == f"{method} at radius 4, turned and mirrored copies too"
        assert spec.values == {"method": method, "radius": 4, "turned": True}
    else:
        with pytest.raises(ValueError, match=f"{method} does not find turned copies; .*, as in --method phash"):
            DedupSpec(method, turned=True)
    assert DedupSpec(method).values.keys() == {"method", "radius"}  # as digests and summaries always had them


@pytest.mark.parametrize("radius", [-1, 64, 4.0, True, "4"])
def test_an_impossible_radius_is_refused(radius) -> None:
    with pytest.raises(ValueError, match=r"radius must be an integer in \[0, 63\], got"):
        DedupSpec("phash", radius)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown method 'md5'; the methods are near-duplicates, phash"):
        DedupSpec("md5")
