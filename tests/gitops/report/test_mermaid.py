from gitops.report import mermaid

PALETTE = '"themeVariables": {"xyChart": {"plotColorPalette": "#2f81f7, #d2760a"}}'


def test_lines() -> None:
    text = mermaid.lines('loss "of" [x]\n', "epoch", "loss", [1, 2], {"one": [0.5, 1e-9], "two": [1, 0.25]})
    assert text.splitlines() == [
        "```mermaid",
        f"%%{{init: {{{PALETTE}}}}}%%",
        "xychart-beta",
        '    title "loss of x (one: blue, two: orange)"',
        '    x-axis "epoch" ["1", "2"]',
        '    y-axis "loss" -0.05 --> 1.05',
        "    line [0.5, 0]",
        "    line [1, 0.25]",
        "```",
    ]


def test_many_points_are_thinned_out_to_the_last() -> None:
    numbers = [float(number) for number in range(1000)]
    *_, x, _, drawn, _ = mermaid.lines("x", "x", "y", numbers, {"y": numbers}).splitlines()
    assert drawn.startswith("    line [0, 17, ")
    assert drawn.endswith(", 999]")
    assert x == '    x-axis "x" 0 --> 999'


def test_bars() -> None:
    text = mermaid.bars("accuracy", "accuracy", {"Bald]": 0.87, "": 0.5})
    assert '    title "accuracy"' in text
    assert '    x-axis ["Bald", "-"]' in text
    assert '    y-axis "accuracy" 0.45 --> 1' in text
    assert "    bar [0.87, 0.5]" in text
    assert "    line" not in text


def test_bars_beside_what_was_before() -> None:
    text = mermaid.bars(
        "accuracy", "accuracy", {"Bald": 0.9, "Male": 0.5}, {"Male": 0.33, "Bald": 0.8, "x": 0}
    )
    assert '    title "accuracy (after: blue, before: orange)"' in text
    assert '    y-axis "accuracy" 0.3 --> 1' in text
    assert "    bar [0.9, 0.5]\n    line [0.8, 0.33]" in text
    assert "line" not in mermaid.bars("accuracy", "accuracy", {"Bald": 0.9, "Male": 0.5}, {"Bald": 0.8})


def test_nothing_to_draw() -> None:
    assert mermaid.bars("x", "y", {}) == ""
    assert mermaid.lines("x", "x", "y", [], {"y": []}) == ""
    assert mermaid.lines("x", "x", "y", [1], {"y": [1]}) == ""
