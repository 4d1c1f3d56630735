from drawn_faces.attribute_graph import NODES


def test_attribute_depends_on_attributes_above_it_alone() -> None:
    above: set[str] = set()
    for node in NODES:
        assert set(node.weights) <= above, node.name
        above.add(node.name)


def test_attribute_has_one_node() -> None:
    assert len({node.name for node in NODES}) == len(NODES)
