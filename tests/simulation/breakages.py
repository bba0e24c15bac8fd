#!/usr/bin/python3
"""Proves that the simulation bites: breaks the library on purpose, one way at a time, and demands that a seed fails.

Each breakage replaces exact texts in copies of the library's sources; a text that is not found (once) any more is a
failure of its own, so that the list cannot go stale. Names as arguments: only those. --table: for docs/testing.md."""
import argparse
import concurrent.futures
import glob
import os
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARY = os.path.join(HERE, "..", "..", "libchathub")
SOURCES = ("util/*.c", "core/*.c", "delivery/*.c", "log/memory.c", "log/cids.c", "log/bounds.c",
           "options.c", "dialect/*.c")
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-O1", "-w"]
WRAPS = ["-Wl," + ",".join("--wrap=" + name for name in
                           ("malloc", "calloc", "realloc", "free", "strdup", "strndup",
                            "chi_pages_take", "chi_pages_zeroed", "chi_pages_give"))]

# name, what is broken, seeds within which it must be caught, (file, old, new) …
BREAKAGES = [
    ("drop-on-full", "what a full transport does not take is dropped at the next frame's end", 50,
     ("delivery/pump.c", "        n++;\n    }\n    if (n > first)", "        n = end;\n    }\n    if (n > first)")),
    ("skip-on-resume", "who resumes starts at the top instead of where it was", 50,
     ("core/join.c", "begin->from = start->position < room->top ? start->position : room->top;",
      "begin->from = room->top;")),
    ("ack-before-commit", "the ack goes out when the log has taken the draft", 50,
     ("core/posting.c", "    count_draft(hub, client, draft);\n    chi_core_typing_end",
      """    count_draft(hub, client, draft);
    chi_core_reply(hub, client,
                   &(struct chi_reply){.type = CHI_REPLY_ACK,
                                       .ref = job->request->ref,
                                       .room = chi_name_shown(member->room->name),
                                       .cid = job->request->cid,
                                       .position = member->room->top + 1});
    chi_core_typing_end""")),
    ("wrong-order", "what one commit holds is shown from its end", 100,
     ("core/posting.c", "*result = &results[i];", "*result = &results[n - 1 - i];")),
    ("lost-member", "the member that moves into a place that became free is not told its new place", 50,
     ("delivery/delivery.c",
      "    chi_places(chi_receiver_at(d, member->client))[member->place].member = to;\n", "")),
    ("missed-pass", "members already visited are not visited again for what comes in mid-pass", 300,
     ("delivery/delivery.c", "        room->again = true;\n", "        (void)0;\n")),
    ("double-delivery", "a frame of which a part was taken is sent again as a whole", 50,
     ("delivery/pump.c",
      "                  chi_mark_at(segment, n)->end - start - taken);\n        n++;\n",
      "                  chi_mark_at(segment, n)->end - start - taken);\n")),
    ("lost-wakeup", "a transport that can take bytes again is not written to", 50,
     ("delivery/delivery.c",
      "    client->flags &= (uint8_t)~CHI_RECEIVER_BLOCKED;\n    chi_receiver_plain(d, client);\n"
      "    chi_receiver_ready(d, client);\n",
      "    client->flags &= (uint8_t)~CHI_RECEIVER_BLOCKED;\n    chi_receiver_plain(d, client);\n")),
    ("blind-visit", "a cursor does not learn that replies wait for its client", 50,
     ("delivery/delivery.c", "            client->held = calloc(1, sizeof(*client->held));\n"
      "        chi_receiver_plain(d, client);\n",
      "            client->held = calloc(1, sizeof(*client->held));\n")),
    ("two-rooms-plain", "a client of two rooms is visited as if it had one", 50,
     ("delivery/delivery.c", "    if (client->count == 2) {\n", "    if (false) {\n")),
    ("never-caught-up", "nobody is told that a room's members are behind no more", 100,
     ("delivery/pump.c", "    d->up.caught_up(d->up.hub, hot->room);\n", "")),
    ("silent-gap", "what the log no longer keeps is passed over in silence", 100,
     ("delivery/pump.c", "    if (at < page->entries[0]->prev)\n", "    if (0)\n")),
    ("early-signal", "signals reach members that are not at the head", 100,
     ("delivery/pump.c", "    if (at == room->top && (member->flags & CHI_CURSOR_SIGNALS))",
      "    if (member->flags & CHI_CURSOR_SIGNALS)")),
    ("late-joined", "replies go out behind entries", 100,
     ("delivery/pump.c", """    if (client->held && client->held->len)
        piece_add(g, PIECE_HELD, (struct chi_span){client->held->at, client->held->len});
    uint32_t start""", "    uint32_t start"),
     ("delivery/pump.c", """        gather_room(g, &chi_places(client)[(start + i) % client->count]);
}""", """        gather_room(g, &chi_places(client)[(start + i) % client->count]);
    if (client->held && client->held->len)
        piece_add(g, PIECE_HELD, (struct chi_span){client->held->at, client->held->len});
}""")),
    ("dup-unseen", "the log does not recognise a cid that it has", 100,
     ("log/memory.c", "    if (first)\n        return repeat(", "    if (0)\n        return repeat(")),
    ("takeover-ghost", "the old connection of a session that was taken over lives on", 100,
     ("core/session.c", "    client->nameless = false;\n    if (old)\n",
      "    client->nameless = false;\n    if (0)\n")),
    ("leave-untold", "the room is not told who left", 50,
     ("core/member.c", "    hub->counts.members--;\n    chi_presence_touch(hub, member);\n",
      "    hub->counts.members--;\n")),
    ("half-frame", "the rest of a signal or gap that was cut is forgotten", 100,
     ("delivery/pump.c", "        if (!whole)\n            hold_rest(", "        if (0)\n            hold_rest(")),
    ("unload-with-members", "a room that has members is unloaded", 50,
     ("core/room.c", "room->holds || chi_nodes_own(hub, room);", "room->holds;"),
     ("core/room.c", "(room->state == CHI_ROOM_OPEN || !room->members);", "true;"),
     ("core/room.c", "    if (room->members)\n        return;\n", "")),
    ("left-before-post", "who left is said to have left before their last post is committed", 200,
     ("core/presence.c", "        if (chi_presence_waits(member))\n            continue;\n        chi_chain_remove",
      "        if (member->held)\n            continue;\n        chi_chain_remove"),
     ("core/presence.c", "        if (!chi_presence_waits(member))\n            ++*kind_of",
      "        if (!member->held)\n            ++*kind_of"),
     ("core/presence.c", "        if (chi_presence_waits(member))\n            continue;\n        struct chi_present",
      "        if (member->held)\n            continue;\n        struct chi_present"),
     ("core/presence.c", "    if (!chi_presence_waits(member))\n        stir(", "    if (!member->held)\n        stir(")),
    ("no-epoch", "a position of another epoch is taken for one of this", 300,
     ("log/memory.c", "           (!its_epoch.len || chi_span_equal(its_epoch, epoch(log)));",
      "           (its_epoch.len == 0 || epoch(log).len);")),
    ("page-forgotten", "a page that somebody waits for is freed for want of space", 300,
     ("delivery/hot.c", "        if (page->loading || page->waiter_count)\n", "        if (page->loading)\n")),
    ("shown-too-soon", "entries that the log holds but has not reported are shown", 1000,
     ("delivery/page.c", "from->entries[n]->position <= top &&", "top &&")),
    ("never-read-again", "a client whose replies have drained is not read from again", 100,
     ("delivery/delivery.c", "        d->up.drained(d->up.hub, client->slot);\n", "")),
    ("read-on", "a client is read from while the host decides about its request", 300,
     ("core/client.c", "    return hub->stopping || client->job || client->full ||",
      "    return hub->stopping || client->full ||")),
    ("no-budget", "windows and pages grow without a bound", 1000,
     ("delivery/hot.c", "    while (d->counts.window_bytes > d->settings->window_bytes)", "    while (0)")),
    ("leak", "a draft's reference is not dropped", 20,
     ("core/posting.c", "    chi_list_remove(&draft->all);\n    chi_entry_unref(draft->entry);\n",
      "    chi_list_remove(&draft->all);\n")),
    ("never-expires", "the hub does not ask to be called when a lost session's time is over", 100,
     ("core/hub.c", "    return lost < next ? lost : next;", "    return next;")),
    ("came-before-went", "who ended and is back comes once more before the room was told that it went", 2000,
     ("core/member.c", "        inherit(hub, member);\n", "")),
    ("unchecked-memory", "a reply for which there is no memory is lost without a word", 1000,
     ("core/tell.c", "    client->fail = (int8_t)r;\n    chi_core_todo(hub, client);\n", "")),
    ("epoch-end", "a position beyond the end of its epoch is taken for one of this", 300,
     ("core/join.c", "log->holds(log, start->epoch, start->position)", "log->holds(log, start->epoch, 0)")),
    ("epoch-forgotten", "who read in an earlier epoch is told a gap where nothing is lost", 300,
     ("core/join.c", "    if (log->holds(log, start->epoch, start->position)) {",
      """    if (log->holds(log, start->epoch, start->position) &&
        (!start->epoch.len || chi_span_equal(start->epoch, log->epoch(log)))) {""")),
    ("news-unshown", "what the log found committed after all is not shown", 100,
     ("core/posting.c", "room->state == CHI_ROOM_OPEN && result->status == 0)",
      "room->state == CHI_ROOM_OPEN && result->status == 0 && result->token)")),
    ("late-ack", "an ack that comes late goes to whoever has the poster's place by then", 300,
     ("core/posting.c", "struct chi_client *client = chi_core_client(hub, draft->client);",
      "struct chi_client *client = chi_slots_at(&hub->clients, (uint32_t)draft->client - 1);")),
    ("start-beyond", "the last entries begin with one that was not shown yet", 2000,
     ("core/look.c", "    return from < room->top ? from : room->top;", "    return from;")),
    ("hole-in-page", "a hole in the middle of a page is passed over in silence", 1000,
     ("delivery/page.c", "(n == 0 || from->entries[n]->prev == from->entries[n - 1]->position)", "true")),
    ("redacted-kept", "what delivery keeps of a redacted entry is shown on", 300,
     ("core/redact.c", "        CHI_DELIVERY(hub, redact, number, position);\n", "")),
    ("redacted-page", "a page that was read before a redaction is shown after it", 300,
     ("delivery/delivery.c", "    chi_windows_drop(d, room->hot);\n    chi_pages_drop(d, room->hot);\n    chi_feed",
      "    chi_windows_drop(d, room->hot);\n    chi_feed")),
    ("redacted-history", "history that was read before a redaction is told after it", 300,
     ("core/history.c", "    if (reading->stale && ", "    if (0 && ")),
    ("why-unsaid", "posts are not told why the log cannot take them", 100,
     ("core/posting.c", "        if (result->why)\n", "        if (0)\n")),
    ("words-of-another", "an error is told in the words of one before it", 100,
     ("core/tell.c", "    hub->problem[0] = '\\0';\n", "")),
    ("place-forgotten", "where a name's last session stood is not remembered", 400,
     ("core/session.c", "            chi_core_stood(hub, member);\n", "            (void)0;\n")),
    ("place-of-who-left", "where a name stood that left a room is not remembered", 3000,
     ("core/join.c", "        chi_core_stood(hub, member);\n    }\n    chi_core_member_end",
      "    }\n    chi_core_member_end")),
    ("place-kept", "a place that somebody goes on from is remembered on", 2000,
     ("core/join.c", "        chi_core_stood_drop(hub, client->session->name, room);\n", "        (void)0;\n")),
    ("places-unbounded", "more places are remembered than may be", 3000,
     ("core/stood.c", "    return chi_map_count(hub->stood) > settings->replay_names ||\n           ", "    return ")),
    ("places-forever", "places are remembered for longer than they may be", 1000,
     ("core/stood.c", "chi_core_now(hub) - first->at >= settings->replay_time;", "first->at == UINT64_MAX;")),
    ("gap-unsaid", "who cannot go on where its name stood is not told the gap", 1000,
     ("core/join.c", "    if (begin->lost)\n        tell_gap(hub, member, begin);\n", "")),
    ("last-unsent", "who goes on is not sent the last entries besides", 1000,
     ("core/join.c", "    if (r || !client->dialect->also_last || begin->lost)\n", "    if (true)\n")),
    ("name-refused", "a name that may be shared is refused", 100,
     ("core/hello.c", "    return owner && !client->dialect->shares_names ? CHATHUB_ENAMETAKEN : 0;",
      "    return owner ? CHATHUB_ENAMETAKEN : 0;")),
    ("name-given", "a native client is given a name that somebody has", 300,
     ("core/hello.c", "    return owner && !client->dialect->shares_names ? CHATHUB_ENAMETAKEN : 0;",
      "    return 0;")),
    ("name-leaked", "a name that several have is free when the first of them goes", 300,
     ("core/session.c", "    next->named = true;\n    chi_index_put(index, next->slot.number);\n", "")),
    ("name-unheard", "who says each post under its own name keeps its first one", 300,
     ("core/posting.c", "job->stage || (session && means != CHI_POST_NAME_EACH))", "job->stage || session)")),
    ("nameless-lives", "who must have a name and was refused it is not closed", 1000,
     ("core/job.c", "    if (unnamed && !job->client->session)\n        fail_client(",
      "    if (0)\n        fail_client(")),
    ("came-before-content", "that somebody came is told before what it came with", 100,
     ("core/join.c", "        member->held = true;\n", "")),
    ("came-unheard", "who is to hear that it came itself is not there yet when it is told", 100,
     ("core/join.c", "        if (!told_itself)\n            tell_coming(", "        if (1)\n            tell_coming("),
     ("core/join.c", "    if (is_new && told_itself)\n        tell_coming(", "    if (0)\n        tell_coming(")),
    ("signals-anew", "an observer that joins loses the signals that wait for it", 2000,
     ("core/join.c", "    if (!client->hearing && chi_core_hears(hub, client))",
      "    if (chi_core_hears(hub, client))")),
    ("entries-only", "who is to have entries alone gets signals", 100,
     ("core/client.c", "    case CHI_HEARS_ENTRIES:\n        return false;",
      "    case CHI_HEARS_ENTRIES:\n        return true;")),
    ("observer-deaf", "observers that are to hear signals do not", 100,
     ("core/join.c",
      "    bool hears = client->dialect->entrance == CHI_ENTRANCE_OBSERVES && chi_core_hears(hub, client);",
      "    bool hears = false;")),
    ("whisper-overheard", "what is for one name alone reaches those of that name in other rooms", 2000,
     ("core/private.c", "    if ((!client && !session->remote) || !chi_core_member(hub, session, w->room))",
      "    if (!client)")),
    ("whisper-to-one", "of several who have the name, one is told what is for it alone", 1000,
     ("core/private.c", "session = chi_chain_next(same, first->slot.number + 1, session))",
      "session = chi_chain_next(same, first->slot.number + 1, session) ? NULL : NULL)")),
    ("whisper-logged", "what was said privately is posted, too", 300,
     ("core/posting.c", "        return chi_core_post_privately(hub, job, member);",
      "        (void)chi_core_post_privately(hub, job, member);")),
    ("second-text", "of two frames in one signal, the second is lost", 100,
     ("delivery/frames.c", "        len += apart != NULL;\n", "        if (apart)\n            return;\n")),
    ("who-parted", "a page of names ends among several of one name, and the next passes over the rest", 2000,
     ("core/who.c",
      "    if (order || !a.id.at || !b.id.at)\n        return order ? order : (a.id.at == NULL) - (b.id.at == NULL);",
      "    if (order || true)\n        return order;")),
]

# The same for several nodes, which tests/simulation/nodes*.c must catch.
NODES = [
    ("node-unasked", "after a message was lost, the whole state is not asked for", 300,
     ("core/nodes.c", "    if (!known || missed)\n", "    if (!known)\n")),
    ("node-bye-ignored", "that a node stops is passed over", 300,
     ("core/nodes_heard.c", "    if (head.kind == CHI_WIRE_BYE)\n        hear_bye(&h);\n", "    (void)hear_bye;\n")),
    ("node-version-kept", "who takes a session over makes no higher claim to it", 300,
     ("core/nodes.c", "client ? chi_nodes_version(hub, origin->version + 1) : origin->version + 1;",
      "origin->version;"),
     ("core/nodes.c", "    origin->version = chi_nodes_version(hub, origin->version);\n", "    (void)origin;\n")),
    ("node-shown-unwaited", "what is heard is told before this node's log has shown what the sender's had", 300,
     ("core/nodes.c", "    return sent <= chi_nodes_shown(hub) ||", "    return sent <= chi_nodes_shown(hub) || true ||")),
    ("node-posts-unwaited", "that a session ended is told before its posts are committed", 300,
     ("core/nodes_say.c", "        if (origin->told && !has_drafts(hub, session))\n",
      "        (void)has_drafts;\n        if (origin->told)\n")),
    ("node-lease-endless", "a node that is not heard of any more is never gone", 300,
     ("core/nodes.c", "    if (!node->bye_at && now - node->heard_at >= lease(hub)) {", "    if (false) {")),
    ("node-names-unsettled", "two who have one name both keep it", 300,
     ("core/nodes_heard.c", "    if (loser)\n        chi_session_lose_name(hub, loser);\n", "    (void)loser;\n")),
    ("node-given-untold", "a node whose session was taken over never tells that it has it no more", 3000,
     ("core/nodes_heard.c", "    chi_nodes_gave(hub, session);\n", "")),
    ("node-move-leaves", "a session that moves leaves the rooms that its new node has not heard of", 3000,
     ("core/nodes.c", "    bool asks = settings->return_time",
      "    bool asks = settings->return_time && !settings->return_time")),
    ("node-unnamed-kept", "sessions that a node's whole state does not name any more are kept", 300,
     ("core/nodes_heard.c", "    end_unnamed(h);\n", "    (void)end_unnamed;\n")),
    ("node-places-unheard", "where the cursors of a session stood that was taken over is passed over", 2000,
     ("core/nodes_heard.c", "    take_places(h, session, &said, false);\n", "")),
]

# Sources of each program beside the library's.
_NODES = glob.glob(HERE + "/nodes*.c")
_SHARED = [os.path.join(HERE, name) for name in ("alloc.c", "basics.c", "dialect.c", "native.c")]
PROGRAMS = {"simulation": [path for path in glob.glob(HERE + "/*.c") if path not in _NODES],
            "nodes": _NODES + _SHARED}


def run(command, **more):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def sources():
    for pattern in SOURCES:  # but what needs libmd, which nothing here uses
        yield from sorted(set(glob.glob(os.path.join(LIBRARY, pattern))) - {os.path.join(LIBRARY, "util/websocket.c")})


class Bench:
    def __init__(self, folder, compiler):
        self.folder, self.compiler = folder, compiler
        self.objects = {}  # by names of sources: the library's and …
        self.programs = {program: ["sim/" + os.path.basename(path) for path in sorted(files)]
                         for program, files in PROGRAMS.items()}  # … those that a program has beside them
        jobs = [(os.path.relpath(path, LIBRARY), path) for path in sources()]
        jobs += [("sim/" + os.path.basename(path), path) for path in sorted(glob.glob(HERE + "/*.c"))]
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for name, result in zip((n for n, _ in jobs),
                                    pool.map(lambda job: self.compile(job[1], self.object(job[0])), jobs)):
                if result.returncode:
                    raise SystemExit(f"{name} does not compile:\n{result.stdout}")
                self.objects[name] = self.object(name)

    def object(self, name):
        return os.path.join(self.folder, name.replace("/", "_") + ".o")

    def compile(self, source, target):
        return run([*self.compiler, *FLAGS, "-I" + LIBRARY, "-I" + LIBRARY + "/include", "-I" + HERE,
                    "-c", source, "-o", target])

    def link(self, program, objects, target):
        chosen = [path for name, path in objects.items()
                  if not name.startswith("sim/") or name in self.programs[program]]
        return run([*self.compiler, *chosen, "-o", target, *WRAPS, "-ljansson"])


def mutate(folder, edits):
    """Copies of the files with the edits made; the texts that were not found once."""
    texts, missing = {}, []
    for path, old, new in edits:
        text = texts.get(path)
        if text is None:
            with open(os.path.join(LIBRARY, path), encoding="utf-8") as file:
                text = file.read()
        if text.count(old) != 1:
            missing.append(f"{path} has {text.count(old)} times: {old!r}")
        texts[path] = text.replace(old, new)
    os.makedirs(folder, exist_ok=True)
    for path, text in texts.items():
        with open(os.path.join(folder, path.replace("/", "_")), "w", encoding="utf-8") as file:
            file.write(text)
    return list(texts), missing


def first_failure(binary, seeds):
    """Number of the first seed that fails or crashes, and how; None: all passed."""
    result = run([binary, "--seeds", str(seeds), "--no-shrink"], timeout=600)
    if result.returncode == 0:
        return None, ""
    for line in result.stdout.splitlines():
        if line.startswith("seed ") and " failed at step " in line:
            return int(line.split()[1]), line.split(": ", 1)[1]
        if "--seed " in line:
            return int(line.split("--seed ")[1].split()[0]), "crash"
    return 0, "crash"


def attempt(bench, breakage):
    name, what, seeds, *edits = breakage
    program = "nodes" if breakage in NODES else "simulation"
    folder = os.path.join(bench.folder, name)
    files, missing = mutate(folder, edits)
    if missing:
        return name, what, seeds, None, "stale: " + "; ".join(missing)
    objects = dict(bench.objects)
    for path in files:
        objects[path] = os.path.join(folder, path.replace("/", "_") + ".o")
        result = bench.compile(os.path.join(folder, path.replace("/", "_")), objects[path])
        if result.returncode:
            return name, what, seeds, None, "does not compile: " + result.stdout
    binary = os.path.join(folder, program)
    result = bench.link(program, objects, binary)
    if result.returncode:
        return name, what, seeds, None, "does not link: " + result.stdout
    seed, how = first_failure(binary, seeds)
    os.unlink(binary)
    return name, what, seeds, seed, how or f"not caught within {seeds} seeds"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    compiler = os.environ.get("CC", "cc").split()
    chosen = [b for b in BREAKAGES + NODES if not options.names or b[0] in options.names]
    began, failures = time.monotonic(), 0
    folder = tempfile.mkdtemp(prefix="breakages-")
    try:
        bench = Bench(folder, compiler)
        for program in PROGRAMS:
            binary = os.path.join(folder, "whole-" + program)
            result = bench.link(program, bench.objects, binary)
            if result.returncode:
                raise SystemExit(result.stdout)
            seed, how = first_failure(binary, 100)
            if seed is not None:
                print(f"the unbroken library fails at seed {seed} of {program}, so nothing can be proven: {how}")
                print("0 passed, 1 failed")
                return 1
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for name, what, seeds, seed, how in pool.map(lambda b: attempt(bench, b), chosen):
                failures += seed is None
                if options.table:
                    print(f"| {name} | {what} | {seed} | {seeds} |")
                else:
                    print(f"{'caught' if seed is not None else 'FAILED'}: {name} ({what}): "
                          + (f"seed {seed} of {seeds}: " if seed is not None else "") + how[:160], flush=True)
    finally:
        shutil.rmtree(folder)
    print(f"{time.monotonic() - began:.0f} s")
    print(f"{len(chosen) + 1 - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
