"""Conversations as trees, and how much of a branch the model is shown, over trees as users make them."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from service.web import windows
from service.web.branches import Node, Tree, pairs_of
from service.web.windows import Room

ROOM = Room(context_tokens=256, answer_tokens=512)


def asked(number: int, parent: int | None = None) -> Node:
    return Node(number, parent, "user", has_text=True)


def answered(number: int, parent: int, first: int | None = None, tokens: int = 0, has_text: bool = True) -> Node:
    return Node(number, parent, "assistant", has_text, first, tokens)


def chain(turns: int, first: int | None = None, tokens: int = 0) -> list[Node]:
    """Questions 1, 3, 5, …, and their answers 2, 4, 6, …"""
    nodes = []
    for number in range(1, 2 * turns, 2):
        nodes += [asked(number, number - 1 or None), answered(number + 1, number, first, tokens)]
    return nodes


def grown(seed: int) -> list[Node]:
    """A tree as users make it: questions below answers or at the top, answers below questions."""
    rng = random.Random(seed)
    nodes: list[Node] = []
    for number in range(1, rng.randrange(2, 60)):
        questions = [node.id for node in nodes if node.role == "user"]
        answers = [node.id for node in nodes if node.role == "assistant"]
        if questions and rng.random() < 0.5:
            nodes.append(answered(number, rng.choice(questions), has_text=rng.random() < 0.9))
        else:
            nodes.append(asked(number, rng.choice([None, *answers])))
    rng.shuffle(nodes)
    return nodes


@pytest.mark.parametrize("seed", range(40))
def test_a_path_leads_from_the_top_to_the_message_and_every_step_is_a_parent(seed: int) -> None:
    nodes = grown(seed)
    tree, parents = Tree(nodes), {node.id: node.parent_id for node in nodes}
    for node in nodes:
        path = [each.id for each in tree.path(node.id)]
        assert path[-1] == node.id and parents[path[0]] is None
        assert all(parents[below] == above for above, below in pairwise(path))


@pytest.mark.parametrize("seed", range(40))
def test_the_leaf_below_a_message_has_nothing_below_and_stands_under_it(seed: int) -> None:
    nodes = grown(seed)
    tree, parents = Tree(nodes), {node.parent_id for node in nodes}
    for node in nodes:
        leaf = tree.leaf_below(node.id)
        assert leaf not in parents and node.id in {each.id for each in tree.path(leaf)}


def test_of_several_branches_below_the_newest_is_shown() -> None:
    tree = Tree([asked(1), answered(2, 1), answered(3, 1), asked(4, 2), asked(5, 3), answered(6, 5), answered(7, 4)])
    assert (tree.leaf_below(1), tree.leaf_below(2), tree.leaf_below(3)) == (6, 7, 6)


def test_what_leads_in_a_circle_or_nowhere_is_not_followed() -> None:
    tree = Tree([asked(1, 2), answered(2, 1), asked(3, 99), answered(4, 4)])
    assert [[node.id for node in tree.path(number)] for number in (1, 2, 3, 4, 99)] == [[1], [1, 2], [3], [4], []]
    assert tree.path(None) == [] and tree.leaf_below(2) == 2


def test_a_very_deep_conversation_is_walked_once() -> None:
    tree = Tree(chain(100_000))
    assert len(tree.path(200_000)) == 200_000 and tree.leaf_below(1) == 200_000


def test_questions_without_an_answer_are_no_pairs() -> None:
    path = [asked(1), answered(2, 1, has_text=False), asked(3, 2), answered(4, 3), asked(5, 4)]
    assert [(pair.question_id, pair.answer.id) for pair in pairs_of(path)] == [(3, 4)]


def test_the_model_is_shown_the_last_turns_of_a_branch_and_moves_by_several_at_once() -> None:
    begins = [windows.begin(pairs_of(chain(turns)), limit=4) for turns in range(10)]
    assert begins == [0, 0, 0, 0, 0, 2, 2, 4, 4, 6]


def test_a_question_begins_where_the_last_answer_of_its_branch_began() -> None:
    pairs = pairs_of([*chain(3), asked(7, 6), answered(8, 7, first=5)])
    assert windows.begin(pairs, limit=8) == 2
    assert windows.begin(pairs[:3], limit=8) == 0, "in a branch that leaves before it, nothing was cut off yet"


def test_an_answer_that_was_shown_nothing_but_its_question_is_where_the_next_begins() -> None:
    assert windows.begin(pairs_of([*chain(2), asked(5, 4), answered(6, 5, first=5)]), limit=8) == 2


def test_where_no_answer_says_what_it_was_shown_all_turns_are_tried() -> None:
    assert windows.begin(pairs_of([asked(1), answered(2, 1, first=99), *chain(0)]), limit=8) == 0


def test_a_history_that_leaves_no_room_is_halved_and_one_of_unknown_size_is_not() -> None:
    tight, roomy = pairs_of(chain(4, first=1, tokens=192)), pairs_of(chain(4, first=1, tokens=100))
    assert windows.begin_for(tight, 8, "What is it?", ROOM) == 2
    assert windows.begin_for(roomy, 8, "What is it?", ROOM) == 0
    assert windows.begin_for(roomy, 8, 300 * "x", ROOM) == 2, "a long question takes room too"
    assert windows.begin_for(pairs_of(chain(4, first=1)), 8, "What is it?", ROOM) == 0
    assert windows.begin_for(tight, 8, "What is it?", None) == 0, "nobody knows how much room another server has"
    assert windows.begin_for([], 8, "What is it?", ROOM) == 0


@pytest.mark.parametrize("seed", range(30))
def test_a_window_never_moves_back_along_a_branch_and_shows_what_it_says(seed: int) -> None:
    """Answer after answer keeps the first question it was shown, some of them after a refusal by the engine."""
    rng = random.Random(seed)
    limit, nodes, last = rng.randrange(1, 9), list[Node](), 0
    for number in range(1, 80, 2):
        pairs = pairs_of(Tree(nodes).path(number - 1 or None))
        first = windows.begin_for(pairs, limit, "x" * rng.randrange(100), ROOM)
        if rng.random() < 0.2:
            first += (len(pairs) - first + 1) // 2
        assert last <= first <= len(pairs) and len(pairs) - first <= limit
        shown = pairs[first].question_id if first < len(pairs) else number
        nodes += [asked(number, number - 1 or None), answered(number + 1, number, shown, rng.randrange(300))]
        last = first
