import io
import sys

from face_attributes.common.progress import bar


def test_quick_work_leaves_no_line_in_a_log(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with bar("collect", 3, "images") as progress:
        progress.update(3)
    assert log.getvalue() == ""


def test_long_work_leaves_whole_lines_in_a_log(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with bar("collect", 4, "images") as progress:
        progress.start_t -= 60
        progress.last_print_t = progress.start_t
        progress.update(2)
        progress.update(2)
    lines = log.getvalue().splitlines()
    assert lines[0].startswith("collect: 2/4 images")
    assert lines[-1].startswith("collect: 4/4 images")
    assert all(line and "\r" not in line for line in lines)
