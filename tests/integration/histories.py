"""What clients did and were told, in the order in which they saw it, and whether all of that can be true of one chat.

A history is a list of events, each a dict with `kind` and `who`:

    sent      cid, room, content                    a post, before its first try
    acked     cid, room, position                   it is committed
    refused   cid, code                             an error came for it; it is sent again
    joined    room, epoch, start, asked             asked: the place that was named, as [epoch, position], or None
    entry     room, position, prev, cid, content    shown live
    gap       room, from, to                        told in place of entries
    final     room, entries                         all that a node has in the end; `who` is the node

`faults` names everything that breaks a promise: an acked post that is not there, or twice, or elsewhere; one that nobody sent;
another order; a hole that no gap tells of; a gap where nothing is missing. It believes nobody: what was shown live has to be
what is there in the end.
"""
import json


class History:
    def __init__(self):
        self.events = []

    def add(self, kind, who, **fields):
        self.events.append({"kind": kind, "who": who, **fields})

    def of(self, kind):
        return [event for event in self.events if event["kind"] == kind]

    def save(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            for event in self.events:
                file.write(json.dumps(event) + "\n")

    @classmethod
    def load(cls, path):
        made = cls()
        with open(path, encoding="utf-8") as file:
            made.events = [json.loads(line) for line in file]
        return made


def faults(history, gaps=False):
    """All that is wrong, a line each. `gaps`: entries may have been lost for good, and are then told so; else never."""
    found = []
    truth = agreed(history, found)
    at = {entry["cid"]: (room, entry) for room, entries in truth.items() for entry in entries}
    check_posts(history, truth, at, found, gaps)
    check_acks(history, at, found, gaps)
    check_senders_order(history, at, found)
    check_readers(history, truth, found, gaps)
    return found


def agreed(history, found):
    """What the rooms hold in the end, as all nodes have to say; each room a chain."""
    truth = {}
    for event in history.of("final"):
        entries = event["entries"]
        known = truth.setdefault(event["room"], entries)
        if known != entries:
            first = next((pair for pair in zip(known, entries) if pair[0] != pair[1]), "their ends")
            found.append(f"{event['who']} has {len(entries)} entries in {event['room']}, another node {len(known)}; "
                         f"they differ at {first}")
        last = entries[0]["prev"] if entries else 0
        for entry in entries:
            if not entry["prev"] == last < entry["position"]:
                found.append(f"{event['who']} has {entry} behind {last} in {event['room']}")
            last = entry["position"]
    return truth


def check_posts(history, truth, at, found, gaps):
    """What is there was posted so, and once."""
    sent = {event["cid"]: event for event in history.of("sent")}
    for room, entries in truth.items():
        for entry in entries:
            post = sent.get(entry["cid"])
            if not post or (post["room"], post["content"]) != (room, entry["content"]):
                found.append(f"{entry} is in {room}, and nobody posted that: {post}")
            elif at[entry["cid"]][1]["position"] != entry["position"]:
                found.append(f"post {entry['cid']} is there twice: {at[entry['cid']]} and {entry}")
        if entries and entries[0]["prev"] and not gaps:
            found.append(f"{room} begins with {entries[0]}")


def check_acks(history, at, found, gaps):
    """What was acked is there, at that position; the same each time."""
    acked = {}
    for event in history.of("acked"):
        known = acked.setdefault(event["cid"], event["position"])
        if known != event["position"] and not gaps:
            found.append(f"post {event['cid']} was acked at {known}, and at {event['position']}")
        room, entry = at.get(event["cid"], (None, None))
        if entry is None:
            if not gaps:
                found.append(f"post {event['cid']} was acked at {event['position']} and is not there")
        elif (room, entry["position"]) != (event["room"], event["position"]) and not gaps:
            found.append(f"post {event['cid']} was acked at {event['position']} in {event['room']} and is {entry} in {room}")


def check_senders_order(history, at, found):
    """What one sender posted in a room is there in that order. Not what was refused: it was sent again later."""
    refused = {event["cid"] for event in history.of("refused")}
    last = {}
    for event in history.of("sent"):
        if event["cid"] in refused or event["cid"] not in at:
            continue
        position, key = at[event["cid"]][1]["position"], (event["who"], event["room"])
        if position < last.get(key, (0, ""))[0]:
            found.append(f"{event['who']}'s post {event['cid']} is at {position}, before the earlier {last[key]}")
        last[key] = max(last.get(key, (0, "")), (position, event["cid"]))


class Place:
    """Where a reader is in a room: the last entry that it knows of."""

    def __init__(self):
        self.position = None  # behind which it is told what comes next; not joined yet
        self.best = 0  # the newest that it has
        self.first = None  # it began behind this
        self.given = {}  # position → cid: what it was shown
        self.gapped = []  # [from, to]: what it was told that it does not get


def check_readers(history, truth, found, gaps):
    places = {}
    positions = {room: {entry["position"]: entry for entry in entries} for room, entries in truth.items()}
    for event in history.events:
        if event["kind"] in ("joined", "entry", "gap"):
            place = places.setdefault((event["who"], event["room"]), Place())
            {"joined": take_joined, "entry": take_entry, "gap": take_gap}[event["kind"]](place, event, positions, found, gaps)
    for (who, room), place in places.items():
        for position in positions.get(room, {}):
            missed = place.first is not None and position > place.first and position not in place.given
            if missed and not any(low < position <= high for low, high in place.gapped):
                found.append(f"{who} did not get {position} in {room}, from {place.first} on")
                break


def take_joined(place, event, positions, found, gaps):
    if place.first is None:
        place.first = place.position = place.best = event["start"]
    elif event["start"] > max(place.position, place.best) and not gaps:
        found.append(f"{event['who']} came back to {event['room']} after {place.best}, and was begun at {event['start']}")
    else:  # earlier, if the node has not seen so much yet: then all from there on comes again
        place.position = event["start"]


def take_entry(place, event, positions, found, gaps):
    who, position = f"{event['who']} in {event['room']}", event["position"]
    if place.position is None:
        found.append(f"{who} got {position} before it had joined")
    elif position <= place.position:
        found.append(f"{who} got {position} after {place.position}")
    elif event["prev"] > place.position or (event["prev"] < place.position and not gaps):
        found.append(f"{who} got {position} after {event['prev']}, but had {place.position}, and no gap")
    there = positions.get(event["room"], {}).get(position)
    if there is None:
        if not gaps:
            found.append(f"{who} was shown {position} ({event['cid']}), which is not there")
    elif (there["cid"], there["prev"], there["content"]) != (event["cid"], event["prev"], event["content"]):
        found.append(f"{who} was shown {event}, and there is {there}")
    place.position, place.best = position, max(place.best, position)
    place.given[position] = event["cid"]


def take_gap(place, event, positions, found, gaps):
    if not gaps:
        found.append(f"{event['who']} was told a gap in {event['room']} from {event['from']} to {event['to']}: nothing was lost")
    place.gapped.append((event["from"], event["to"]))
    place.position = place.best = event["to"]
