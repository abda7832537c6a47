"""Tables of pages: what rows share is said once, a value stands with its error, figures are rounded as it allows."""

import pytest

from results.views import View, by_protocol, label, link, padding, spelt, view

MEASURED = {"method": "net + L2-SVM", "protocol": "cifar10/full", "metric": "accuracy_percent", "value": "71.77"}
MEASURED |= {"error_bar": "0.26", "error_bar_kind": "sd", "n_runs": "10", "n_test": "10000", "features": "12288"}
MEASURED |= {"source": "measured", "provenance": "20261122-1a2b3c4d"}
CITED = dict.fromkeys(MEASURED, "") | {"method": "paper", "protocol": "cifar10/full", "metric": "accuracy_percent"}
CITED |= {"value": "82.80", "error_bar": "1.13", "source": "arXiv:1511.06434 Table 1 [2]"}


def cells(found: list[str], errors: list[str]) -> list[str]:
    rows = [{"name": "a", "value": v, "error_bar": e} for v, e in zip(found, errors, strict=True)]
    return [row["value"] for row in view(rows).rows]


def test_a_value_and_its_error_are_one_column_rounded_to_two_digits_of_the_error() -> None:
    assert cells(["71.774", "65.52", "9.5", "50.25", "3.0"], ["0.261", "1.24", "12.5", "", "0"]) == [
        *("71.77 ± 0.26", "65.5 ± 1.2", "10 ± 12", "50.25", "3.0 ± 0")
    ]
    rows = [{"name": "a", "difference": "-4.257", "ci95_low": "-4.951", "ci95_high": "-3.561"}]
    assert view(rows).rows[0]["difference"] == "\N{MINUS SIGN}4.26 (\N{MINUS SIGN}4.95 to \N{MINUS SIGN}3.56)"
    assert "difference" in view(rows).numeric


def test_what_all_rows_share_stands_in_the_caption() -> None:
    found = view([MEASURED, {**MEASURED, "method": "other + L2-SVM", "features": "512"}])
    said = "; ".join(f"{name} {text}".strip() for name, text in found.caption)
    assert said == (
        "L2-SVM; protocol cifar10/full; ± one standard deviation over the runs; 10 runs; n = 10,000; measured; "
        "run 20261122-1a2b3c4d"
    )
    assert list(found.columns) == ["method", "value", "features"] and found.columns["value"] == "accuracy\u00a0%"
    assert [row["features"] for row in found.rows] == ["12,288", "512"] and found.rows[0]["method"] == "net"


def test_reported_and_measured_rows_are_told_apart_and_what_is_cited_stays_as_printed() -> None:
    found = view([CITED, MEASURED, {**MEASURED, "method": "b", "value": "1.00", "provenance": "20261122-00000000"}])
    assert [row["_kind"] for row in found.rows] == ["reported", "measured", "measured"]
    assert found.rows[0]["value"] == "82.80 ± 1.13" and found.rows[0]["source"] == CITED["source"]
    assert found.rows[1]["source"] == MEASURED["provenance"] and "provenance" not in found.columns
    assert ("n =", "10,000") in found.caption  # though the cited row does not say


def test_a_row_that_is_not_measured_leaves_the_caption_as_it_is() -> None:
    absent = dict.fromkeys(MEASURED, "") | {"method": "c", "protocol": "cifar10/full", "source": "not audited"}
    found = view([MEASURED, MEASURED | {"method": "b"}, absent])
    assert ("n =", "10,000") in found.caption and found.rows[2]["source"] == "not audited"
    beside = view([CITED, absent])
    assert [row["_kind"] for row in beside.rows] == ["reported", ""] and beside.rows[1]["source"] == "not audited"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (["0.786863", "0.5", "0"], ["0.7869", "0.5000", "0.0000"]),
        (["52.4621", "1.21914"], ["52.46", "1.22"]),
        (["1000000", "12"], ["1,000,000", "12"]),
        (["4.4e-33", "0.52"], ["4.4e-33", "0.52"]),
        (["5000.25", "0.0003"], ["5000.25", "0.0003"]),  # the small one would vanish
        (["True", "False"], ["yes", "no"]),
        (["nan", "1.5"], ["", "1.5"]),
        (["x", "1.23456"], ["x", "1.23456"]),
    ],
)
def test_figures_without_an_error_keep_four_digits(given: list[str], shown: list[str]) -> None:
    rows = [{"name": str(i), "figure": text} for i, text in enumerate(given)]
    assert [row["figure"] for row in view(rows).rows] == shown


def test_columns_without_a_text_are_left_out_and_no_row_is_refused() -> None:
    assert list(view([{"a": "x", "b": "", "c": "nan"}]).columns) == ["a"]
    with pytest.raises(ValueError, match="must have a row"):
        view([])


def test_each_protocol_has_its_own_table_in_the_order_of_the_rows() -> None:
    rows = [CITED, {**CITED, "protocol": "svhn/x"}, {**CITED, "method": "b"}]
    found = by_protocol(rows, {"cifar10/full": "as in n_test"})
    assert [(name, text, len(it.rows)) for name, text, it in found] == [
        *(("cifar10/full", "As in test images", 2), ("svhn/x", "", 1))
    ]


def test_words_and_addresses() -> None:
    assert [label("images_per_second"), label("found_percent"), label("two_words")] == [
        *("images/s", "found\u00a0%", "two words")
    ]
    assert spelt("max_units is snake_case") == "widest layer is snake_case"
    assert spelt("As printed. max_units is n.") == "As printed. Widest layer is n."
    assert link("reported, arXiv:1511.06434 Table 1") == "https://arxiv.org/abs/1511.06434"
    assert link("https://a.example/x [1]") == "https://a.example/x"
    assert link("measured") == link("javascript:alert(1)") == ""


def test_the_points_of_a_column_stand_below_one_another() -> None:
    names = ["82.8", "84.01", "\N{MINUS SIGN}3", "1,234.5", "", "71.77 ± 0.26"]
    found = View((), {"v": "v"}, frozenset("v"), [{"v": name} for name in names])
    assert found.decimals == {"v": 2}
    assert [padding(name, found.decimals["v"]) for name in names] == ["0", "", ".00", "0", "", ""]
    wide = View((), {"v": "v"}, frozenset("v"), [{"v": "1,234"}, {"v": "0.000001"}])
    assert wide.decimals == {} and padding("1,234", wide.decimals.get("v")) == ""


def test_a_share_in_a_caption_has_its_unit_after_the_number() -> None:
    found = view([{"name": name, "training_copies_percent": "0.4"} for name in "ab"])
    assert found.caption == [("training copies", "0.4\u00a0%")]
