from datetime import UTC, datetime

from serving.kept import Kept


def test_only_old_photographs_of_the_service_are_removed(tmp_path):
    old, new = "online-111111111111-20260101T000000.000001", "online-111111111111-20260104T120000.000001"
    for name in (old, new, "monday", "online-111111111111-someday"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()
    Kept(tmp_path, 3).remove(datetime(2026, 1, 5, tzinfo=UTC))
    assert {path.name for path in tmp_path.iterdir()} == {new, "monday", "online-111111111111-someday"}
    Kept(tmp_path / "none", 3).remove(datetime(2026, 1, 5, tzinfo=UTC))
