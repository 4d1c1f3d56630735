"""The page of the board, as one HTML file."""

from dataclasses import dataclass

from gitops.history import page
from gitops.history.board import Board, Place
from gitops.history.page import Frame

_WIDTH, _HEIGHT = 220, 74
_ACROSS, _DOWN = 60, 18
_MARGIN = 4


@dataclass(frozen=True)
class Node:
    """An environment, and where its box is."""

    place: Place
    x: int
    y: int
    width: int = _WIDTH
    height: int = _HEIGHT


@dataclass(frozen=True)
class Graph:
    """The boxes of the environments and the paths of the arrows between them."""

    nodes: tuple[Node, ...]
    edges: tuple[str, ...]
    width: int
    height: int


def render(board: Board, frame: Frame | None = None) -> str:
    """Return the page, as a file of its own, or as a part of a web interface."""
    return page.render("board.html.j2", {"board": board, "graph": graph(board), "frame": frame})


def graph(board: Board) -> Graph:
    """Place each environment in the column after the last of those before it."""
    columns: dict[str, int] = {}
    rows: dict[int, int] = {}
    nodes: dict[str, Node] = {}
    for place in board.places:  # those before it come first
        column = max((columns[name] + 1 for name in place.after), default=0)
        row = rows.get(column, 0)
        columns[place.name], rows[column] = column, row + 1
        x, y = _MARGIN + column * (_WIDTH + _ACROSS), _MARGIN + row * (_HEIGHT + _DOWN)
        nodes[place.name] = Node(place, x, y)
    edges = tuple(_arrow(nodes[name], nodes[place.name]) for place in board.places for name in place.after)
    width = max(node.x + node.width for node in nodes.values()) + _MARGIN
    height = max(node.y + node.height for node in nodes.values()) + _MARGIN
    return Graph(tuple(nodes.values()), edges, width, height)


def _arrow(first: Node, second: Node) -> str:
    x, y = first.x + first.width, first.y + first.height // 2
    to_x, to_y = second.x - 2, second.y + second.height // 2
    middle = to_x - _ACROSS // 2
    return f"M{x} {y} C{middle} {y} {middle} {to_y} {to_x} {to_y}"
