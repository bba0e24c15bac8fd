"""The checker of histories finds each lie that a chat could tell, and none where there is none."""
import copy

import pytest

from histories import History, faults

ROOM = "tea"


def entry(number, prev=None):
    return {"position": 10 * number, "prev": 10 * (number - 1) if prev is None else prev, "cid": f"ann-{number}",
            "content": f"text {number}"}


def true_history():
    """Ann posts 1 to 6 (the fifth is never acked); bob reads from the start, and comes back after 3; carol from 2 on."""
    history = History()
    history.add("joined", "bob", room=ROOM, epoch="e", start=0, asked=None)
    for number in range(1, 7):
        history.add("sent", "ann", room=ROOM, cid=f"ann-{number}", content=f"text {number}")
        if number != 5:
            history.add("acked", "ann", room=ROOM, cid=f"ann-{number}", position=10 * number)
        if number == 2:
            history.add("joined", "carol", room=ROOM, epoch="e", start=20, asked=None)
        if number == 4:
            history.add("joined", "bob", room=ROOM, epoch="e", start=30, asked=["e", 30])
        history.add("entry", "bob", room=ROOM, **entry(number))
        if number > 2:
            history.add("entry", "carol", room=ROOM, **entry(number))
    for node in ("c1", "c2"):
        history.add("final", node, room=ROOM, entries=[entry(number) for number in range(1, 7)])
    return history


def at(history, kind, who, **fields):
    """Where an event is."""
    return next(index for index, event in enumerate(history.events) if event["kind"] == kind and event["who"] == who
                and all(event.get(key) == value for key, value in fields.items()))


def drop(history, *where, **fields):
    del history.events[at(history, *where, **fields)]


def finals(history):
    return [event["entries"] for event in history.of("final")]


def test_the_truth_is_no_fault():
    assert faults(true_history()) == []


def test_a_history_is_the_same_when_it_was_kept(tmp_path):
    true_history().save(tmp_path / "kept")
    assert History.load(tmp_path / "kept").events == true_history().events


def lose_acked(history):
    """It was acked, nobody was shown it, and it is nowhere."""
    history.events[:] = [event for event in history.events if event["kind"] != "entry" or event["cid"] != "ann-6"]
    for entries in finals(history):
        del entries[5]


def lose_acked_in_the_middle(history):
    """The same, with a chain that was mended."""
    for where in ([event] if "prev" in event else event.get("entries", ()) for event in history.events):
        for one in where:
            if one["position"] == 50:
                one["prev"] = 30
    history.events[:] = [event for event in history.events if event["kind"] != "entry" or event["cid"] != "ann-4"]
    for entries in finals(history):
        del entries[3]


def twice(history):
    """It is stored two times, and everybody sees it two times."""
    again = dict(entry(7), cid="ann-6", content="text 6")
    for who in ("bob", "carol"):
        history.events.insert(at(history, "final", "c1"), {"kind": "entry", "who": who, "room": ROOM, **again})
    for entries in finals(history):
        entries.append(again)


def acked_elsewhere(history):
    history.events[at(history, "acked", "ann", cid="ann-3")]["position"] = 31


def acked_twice_elsewhere(history):
    history.add("acked", "ann", room=ROOM, cid="ann-3", position=70)


def another_room(history):
    history.events[at(history, "acked", "ann", cid="ann-3")]["room"] = "coffee"


def other_words(history):
    for entries in finals(history):
        entries[2]["content"] = "text 33"
    for event in history.of("entry"):
        if event["position"] == 30:
            event["content"] = "text 33"


def nobody_posted_it(history):
    drop(history, "sent", "ann", cid="ann-5")


def another_order_for_one(history):
    """Carol sees 3 at the place of 4, and 4 at the place of 3."""
    for position, cid in ((30, 4), (40, 3)):
        history.events[at(history, "entry", "carol", position=position)].update(cid=f"ann-{cid}", content=f"text {cid}")


def back_and_forth(history):
    """Carol gets 4 before 3."""
    one, other = at(history, "entry", "carol", position=30), at(history, "entry", "carol", position=40)
    history.events[one], history.events[other] = history.events[other], history.events[one]


def another_order_on_one_node(history):
    entries = finals(history)[1]
    entries[2], entries[3] = dict(entry(3), **{key: entry(4)[key] for key in ("cid", "content")}), \
        dict(entry(4), **{key: entry(3)[key] for key in ("cid", "content")})


def the_sender_overtaken(history):
    """All agree that 4 came before 3."""
    swap = {"ann-3": "ann-4", "ann-4": "ann-3"}
    for where in ([event] if event["kind"] == "entry" else event.get("entries", ()) for event in history.events):
        for one in where:
            if one["cid"] in swap:
                one["cid"] = swap[one["cid"]]
                one["content"] = "text " + one["cid"][-1]
    for event in history.of("acked"):
        event["position"] = {"ann-3": 40, "ann-4": 30}.get(event["cid"], event["position"])


def hole(history):
    drop(history, "entry", "carol", position=40)


def hidden_hole(history):
    """And the next one claims to follow."""
    drop(history, "entry", "carol", position=40)
    history.events[at(history, "entry", "carol", position=50)]["prev"] = 30


def hole_at_the_end(history):
    """Which no later entry gives away."""
    drop(history, "entry", "bob", position=60)


def hole_at_the_return(history):
    """Bob is begun later than where he was."""
    history.events[at(history, "joined", "bob", start=30)]["start"] = 40
    drop(history, "entry", "bob", position=40)


def again_at_the_return(history):
    history.events.insert(at(history, "entry", "bob", position=40), {"kind": "entry", "who": "bob", "room": ROOM, **entry(3)})


def again_from_earlier_with_a_hole(history):
    """Bob is begun earlier than where he was, as joined says, and what comes again is not all."""
    begin_earlier(history)
    drop(history, "entry", "bob", position=30, again=True)


def begin_earlier(history):
    where = at(history, "joined", "bob", start=30)
    history.events[where]["start"] = 10
    for number in (3, 2):
        history.events.insert(where + 1, {"kind": "entry", "who": "bob", "room": ROOM, "again": True, **entry(number)})


def before_joined(history):
    drop(history, "joined", "carol", start=20)


def shown_and_taken_back(history):
    """An unacked post is shown, and is not there in the end."""
    for entries in finals(history):
        del entries[5]
    drop(history, "acked", "ann", cid="ann-6")


def a_node_behind(history):
    del finals(history)[1][5]


def broken_chain(history):
    for entries in finals(history):
        entries[3]["prev"] = 20


def beginning_gone(history):
    """The first entries are not kept, and nobody asked for that."""
    for entries in finals(history):
        del entries[:1]
    drop(history, "acked", "ann", cid="ann-1")
    drop(history, "entry", "bob", position=10)
    history.events[at(history, "joined", "bob", start=0)]["start"] = 10


def gap_where_nothing_is_lost(history):
    history.events.insert(at(history, "entry", "carol", position=40),
                          {"kind": "gap", "who": "carol", "room": ROOM, "from": 30, "to": 30})


LIES = [lose_acked, lose_acked_in_the_middle, twice, acked_elsewhere, acked_twice_elsewhere, another_room, other_words,
        nobody_posted_it, another_order_for_one, back_and_forth, another_order_on_one_node, the_sender_overtaken, hole,
        hidden_hole, hole_at_the_end, hole_at_the_return, again_at_the_return,
        again_from_earlier_with_a_hole, before_joined, shown_and_taken_back,
        a_node_behind, broken_chain, beginning_gone, gap_where_nothing_is_lost]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
def test_a_lie_is_found(lie):
    history = copy.deepcopy(true_history())
    lie(history)
    assert faults(history)


def test_who_is_begun_earlier_and_told_so_gets_all_again():
    history = true_history()
    begin_earlier(history)
    assert faults(history) == []


def test_who_is_begun_earlier_may_leave_and_go_on_where_it_was():
    history = true_history()
    where = at(history, "joined", "bob", start=30)
    history.events.insert(where, {**history.events[where], "start": 10})
    assert faults(history) == []


def test_a_hole_that_is_told_is_none_where_entries_may_be_lost():
    history = true_history()
    where = at(history, "entry", "carol", position=40)
    history.events[where] = {"kind": "gap", "who": "carol", "room": ROOM, "from": 30, "to": 40}
    assert faults(history) and faults(history, gaps=True) == []
    history.events[where]["to"] = 39
    assert faults(history, gaps=True), "a gap that is too short"


def test_an_unacked_post_may_be_there_or_not():
    history = true_history()
    assert faults(history) == []
    history.events[:] = [event for event in history.events if event.get("cid") != "ann-5" or event["kind"] == "sent"]
    for where in ([event] if "prev" in event else event.get("entries", ()) for event in history.events):
        for one in where:
            one["prev"] = 40 if one["position"] == 60 else one["prev"]
    for entries in finals(history):
        del entries[4]
    assert faults(history) == []


def test_what_was_refused_may_come_later():
    history = true_history()
    the_sender_overtaken(history)
    assert faults(history)
    history.add("refused", "ann", cid="ann-3", code="log_failed")
    assert faults(history) == []
