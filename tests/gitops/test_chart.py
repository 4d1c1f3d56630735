from gitops import chart


def test_lines() -> None:
    text = chart.lines('loss "of" [x]\n', "epoch", "loss", [1, 2], {"one": [0.5, 1e-9], "two": [1, 0.25]})
    assert text.splitlines() == [
        "```mermaid",
        "xychart-beta",
        '    title "loss of x (one, two)"',
        '    x-axis "epoch" 1 --> 2',
        '    y-axis "loss" -0.05 --> 1.05',
        "    line [0.5, 0]",
        "    line [1, 0.25]",
        "```",
    ]


def test_many_points_are_thinned_out_to_the_last() -> None:
    numbers = [float(number) for number in range(1000)]
    drawn = chart.lines("x", "x", "y", numbers, {"y": numbers}).splitlines()[-2]
    assert drawn.startswith("    line [0, 17, ")
    assert drawn.endswith(", 999]")


def test_bars() -> None:
    text = chart.bars("accuracy", "accuracy", {"Bald]": 0.5, "": 0.5})
    assert '    x-axis ["Bald", "-"]' in text
    assert "    bar [0.5, 0.5]" in text


def test_nothing_to_draw() -> None:
    assert chart.bars("x", "y", {}) == ""
    assert chart.lines("x", "x", "y", [], {"y": []}) == ""
    assert chart.lines("x", "x", "y", [1], {"y": [1]}) == ""
