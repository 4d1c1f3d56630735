import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drawn_faces.canvas import Canvas, coverage, ellipse, mirrored, mix, normals, outline, spline, tone

SQUARE = np.array([(20.0, 30.0), (40.0, 30.0), (40.0, 60.0), (20.0, 60.0)])


@pytest.fixture
def canvas() -> Canvas:
    return Canvas(np.full((218, 178, 3), 100, np.uint8))


def test_fill_paints_the_inside_alone(canvas: Canvas) -> None:
    canvas.fill(SQUARE, (10, 200, 30))
    assert canvas.image[45, 30].tolist() == [10, 200, 30]
    assert canvas.image[45, 50].tolist() == [100, 100, 100]


def test_edges_are_anti_aliased(canvas: Canvas) -> None:
    canvas.fill(SQUARE + 0.5, (255, 255, 255))
    assert 100 < canvas.image[45, 41, 0] < 255


def test_soft_shape_fades_out(canvas: Canvas) -> None:
    canvas.soft([SQUARE], (200, 200, 200), 1.0, 3)
    row = canvas.image[45, 30:52, 0].astype(int)
    assert row[0] >= 199
    assert row[-1] == 100
    assert (np.diff(row) <= 0).all()


def test_blend_takes_an_image_without_overflow(canvas: Canvas) -> None:
    box, mask = coverage([SQUARE])
    canvas.blend(box, mask, np.full((*mask.shape, 3), 7, np.uint8))
    assert canvas.image[45, 30].tolist() == [7, 7, 7]


@given(across=st.floats(-400, 400), down=st.floats(-400, 400), blur=st.floats(0, 5), opacity=st.floats(0, 1))
def test_shapes_may_lie_partly_or_wholly_outside(
    across: float, down: float, blur: float, opacity: float
) -> None:
    canvas = Canvas(np.full((218, 178, 3), 100, np.uint8))
    shape = SQUARE + np.array((across, down))
    canvas.soft([shape], (200, 200, 200), opacity, blur)
    canvas.fill(shape, (200, 200, 200))
    assert canvas.image.min() >= 100
    assert canvas.image.max() <= 200


@given(st.lists(st.tuples(st.floats(-99, 99), st.floats(-99, 99)), min_size=2, max_size=8), st.booleans())
def test_spline_goes_through_its_points(points: list[tuple[float, float]], closed: bool) -> None:
    curve = spline(points, closed=closed, steps=6)
    assert len(curve) == 6 * (len(points) - (not closed)) + (not closed)
    assert np.allclose(curve[::6], points, atol=1e-9)


def test_ribbon_is_as_wide_as_asked() -> None:
    line = np.stack([np.linspace(0, 10, 11), np.zeros(11)], axis=1)
    shape = outline(line, (2, 4))
    assert np.ptp(shape[[0, -1], 1]) == pytest.approx(2, abs=1e-3)
    assert np.ptp(shape[[10, 11], 1]) == pytest.approx(4, abs=1e-3)


def test_normals_are_upright_to_the_line() -> None:
    circle = ellipse((0, 0), (10, 10), 40)
    cosine = np.sum(normals(circle)[1:-1] * circle[1:-1] / 10, axis=1)
    assert np.allclose(np.abs(cosine), 1, atol=1e-3)


def test_mirrored_turns_x_round() -> None:
    assert mirrored([(1, 2)], -1).tolist() == [[-1, 2]]
    assert mirrored([(1, 2)], 1).tolist() == [[1, 2]]


def test_colors_stay_in_range() -> None:
    assert tone((200, 100, 0), 2) == (255, 200, 0)
    assert mix((0, 0, 0), (10, 20, 30), 0.5) == (5, 10, 15)
