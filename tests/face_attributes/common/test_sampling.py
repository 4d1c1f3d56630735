from hypothesis import given
from hypothesis import strategies as st

from face_attributes.common.sampling import choose

names = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), unique=True)


@given(names=names, count=st.integers(0, 20))
def test_as_many_as_asked_whatever_their_order(names, count):
    chosen = choose(names, count)
    assert len(chosen) == min(count, len(names))
    assert chosen <= set(names)
    assert choose(reversed(names), count) == chosen


@given(names=names, count=st.integers(0, 20))
def test_a_larger_sample_holds_the_smaller_one(names, count):
    assert choose(names, count) <= choose(names, count + 3)


@given(names=names, more=names, count=st.integers(1, 20))
def test_what_is_added_takes_only_its_own_places(names, more, count):
    before, after = choose(names, count), choose({*names, *more}, count)
    assert len(before - after) <= len(after - before) <= len(set(more) - set(names))
    assert after - before <= set(more)


def test_a_choice_is_the_same_for_ever():
    assert choose((f"{number:06d}.jpg" for number in range(1000)), 3) == {
        "000189.jpg",
        "000390.jpg",
        "000996.jpg",
    }
