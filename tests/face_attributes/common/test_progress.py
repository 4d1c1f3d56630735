import io
import logging
import sys

from face_attributes.common.progress import bar


def test_quick_work_leaves_no_line_in_a_log(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with bar("collect", 3, "images") as progress:
        progress.update(3)
    assert not caplog.messages


def test_long_work_leaves_whole_lines_in_a_log(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with bar("collect", 4, "images") as progress:
        progress.start_t -= 60
        progress.last_print_t = progress.start_t
        progress.update(2)
        progress.update(2)
    lines = caplog.messages
    assert lines[0].startswith("collect: 2/4 images")
    assert lines[-1].startswith("collect: 4/4 images")
    assert all(line and "\r" not in line for line in lines)
