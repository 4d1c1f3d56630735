from drawn_faces.random_streams import Dice


def test_stream_begins_anew_for_each_asker() -> None:
    dice = Dice(1, 2)
    first = dice.of("hair").random(4).tolist()
    assert dice.of("hair").random(4).tolist() == first
    assert Dice(1, 2).of("hair").random(4).tolist() == first


def test_seed_index_and_part_each_give_another_stream() -> None:
    streams = [Dice(1, 2).of("hair"), Dice(1, 2).of("eyes"), Dice(1, 3).of("hair"), Dice(2, 2).of("hair")]
    assert len({stream.random() for stream in streams}) == 4
