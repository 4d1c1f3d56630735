from drawn_faces.random_streams import RandomStreams


def test_stream_begins_anew_for_each_asker() -> None:
    streams = RandomStreams(1, 2)
    first = streams.of("hair").random(4).tolist()
    assert streams.of("hair").random(4).tolist() == first
    assert RandomStreams(1, 2).of("hair").random(4).tolist() == first


def test_seed_index_and_part_each_give_another_stream() -> None:
    streams = [
        RandomStreams(1, 2).of("hair"),
        RandomStreams(1, 2).of("eyes"),
        RandomStreams(1, 3).of("hair"),
        RandomStreams(2, 2).of("hair"),
    ]
    assert len({stream.random() for stream in streams}) == 4
