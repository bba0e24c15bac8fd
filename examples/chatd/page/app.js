'use strict';
// The page's client: one room over chathub.v1 (docs/protocol.md). A room is a log and this page a cursor in it:
// `last`, read under `epoch`, says how far it has read, so that after any loss it goes on there. A post stays in the
// outbox, under a cid of its own, until it was acknowledged, and is sent again after each reconnect and reload; the
// hub keeps one. The list is: what a lost log had said (`gone`), `earlier` (older messages are put behind it when it
// comes into sight), messages in the order of their positions, the outbox (`lines`).

const $ = (id) => document.getElementById(id);
const list = $('messages');
const box = $('text'); // what is being written
const SHOWN = 500; // lines kept on the page while its end is read
const MOST = 5000; // and while older ones are
const PAGE = 50; // older messages asked for at a time
const UNSENT = 100; // posts in the outbox
const NAMES = 200; // people listed
const SILENCE = 25000; // ms without a word after which the page asks whether the hub is there
const LATER = ['busy', 'full', 'log_failed', 'no_memory', 'shutdown', 'unknown']; // refusals that pass

const keep = (store, key, value) => {
  try {
    if (value === undefined) return store.getItem(key);
    store.setItem(key, value);
  } catch { /* storage may be forbidden; the page then forgets */ }
  return null;
};

const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)),
  (byte) => byte.toString(16).padStart(2, '0')).join('');

let socket = null;
let path = '/ws'; // of the WebSocket
let name = keep(localStorage, 'chat.name') || '';
let wish = name; // what hello asks for
let session = keep(sessionStorage, 'chat.session') || '';
let me = ''; // our sender_id
let room = 'general';
let current = ''; // epoch of this connection
let epoch = ''; // epoch under which `last` was read; they change together
let last = 0; // position of the newest entry that was received
let start = 0; // position after which this connection's entries follow
let joined = false;
let more = true; // there is something before the oldest message
let asking = false; // for it
let gone = new Map(); // key → line, of a log that was lost
let halted = false; // no reconnect by itself: replaced, refused, or a name is needed
let tries = 0;
let notBefore = 0; // the hub's wish (bye)
let heard = 0;
let limit = Infinity; // bytes of a post
let horizon = Infinity; // ms for which the hub knows a cid
let timer = 0; // reconnects
let later = 0; // timer that sends again what was refused for now
let refusals = 0;
let unread = 0;
const flying = new Set(); // cids that were sent over this connection and have no answer yet
// { cid, text, sent: when first, failed: why for good }: not acknowledged yet
let outbox = JSON.parse(keep(sessionStorage, 'chat.outbox')) || [];
const lines = new Map(); // cid → its line, until its entry came
const button = element('button', 'Earlier messages');
const earlier = element('li', '', 'note');
const sight = new IntersectionObserver((seen) => seen.at(-1).isIntersecting && askEarlier(),
  { root: list, rootMargin: '200px 0px' });

// ---- connection

const backoff = (times) => Math.random() * Math.min(30000, 1000 * 2 ** times);
const send = (frame) => socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify(frame));

function state(text, is) {
  $('state').textContent = text;
  $('state').dataset.is = is;
}

// Asks where the WebSocket is: behind the port that this page came from, else (a proxy) the first there is.
async function findPath() {
  try {
    const { sockets } = await (await fetch('/server.json', { signal: AbortSignal.timeout(5000) })).json();
    const port = Number(location.port) || (location.protocol === 'https:' ? 443 : 80);
    path = (sockets.find((one) => one.port === port) || sockets[0]).path || path;
  } catch { /* a server that does not tell has it where it usually is */ }
}

function connect() {
  clearTimeout(timer);
  drop();
  halted = false;
  $('again').hidden = true;
  state('Connecting …', 'wait');
  const mine = new WebSocket(new URL(path, location.href.replace(/^http/, 'ws')), 'chathub.v1');
  socket = mine;
  heard = Date.now();
  mine.onopen = hello;
  mine.onmessage = (event) => { heard = Date.now(); receive(JSON.parse(event.data)); };
  mine.onclose = (event) => { if (socket === mine) lost(event); };
}

// Forgets the connection at once: one that hangs may take minutes to say so. With a code the session goes on.
function drop() {
  const old = socket;
  socket = null;
  joined = asking = false;
  clearTimeout(later);
  later = 0;
  flying.clear();
  outbox.forEach((item) => tell(item, 'Waiting to be sent'));
  old?.close(4000);
}

function lost(event) {
  drop();
  typing.clear();
  showTyping();
  if (event.code === 4001) halt('This chat goes on in another tab.');
  else if ([1002, 1003, 1007, 1008, 1009].includes(event.code)) halt(`The server ended this: ${event.reason}`);
  else if (!halted) retry();
}

function halt(text) {
  halted = true;
  state(text, 'off');
  $('again').hidden = false;
}

function retry() {
  drop();
  const wait = Math.max(backoff(tries++), notBefore - Date.now());
  notBefore = 0;
  state(`Connection lost; trying again in ${Math.ceil(wait / 1000)} s …`, 'off');
  clearTimeout(timer);
  timer = setTimeout(connect, wait);
}

function hello() {
  const rooms = epoch && !joined ? [{ room, after: last, epoch }] : [];
  send({ type: 'hello', ref: 'hello', name: wish, session, rooms });
}

// ---- from the hub

const on = {
  welcome(frame) {
    name = wish = frame.sender;
    me = frame.sender_id;
    keep(localStorage, 'chat.name', name);
    limit = frame.limits.content;
    horizon = frame.horizon_ms;
    if (!epoch) send({ type: 'join', ref: 'join', now: true });
    enter();
    if (joined) state(`Connected as ${name}`, 'on');
  },
  joined(frame) {
    if (!epoch && frame.ref !== 'join') return; // where the page was before it was loaded anew
    current = frame.epoch;
    start = frame.start;
    room = frame.room;
    joined = true;
    tries = 0;
    $('room').textContent = room;
    state(`Connected as ${name}`, 'on');
    takePeople(frame);
    if (!frame.members && frame.count <= NAMES) send({ type: 'who', room });
    if (!epoch) {
      last = start;
      epoch = current;
      askEarlier();
    }
    watch();
    flush();
  },
  chat(frame) {
    if (!joined || frame.position <= last) return;
    last = frame.position;
    epoch = current;
    add(message(frame));
    if (document.hidden) document.title = `(${++unread}) ${room}`;
    typing.delete(frame.sender_id);
    showTyping();
  },
  history(frame) {
    const first = oldest()?.position ?? Infinity;
    const entries = frame.entries.filter((entry) => entry.position < first);
    asking = false;
    say('');
    list.ariaLive = 'off'; // old messages are no news
    keepPlace(() => {
      earlier.after(...entries.map(message));
      showEarlier(frame.more);
    });
    setTimeout(() => { list.ariaLive = 'polite'; }, 1000);
  },
  ack(frame) {
    refusals = 0;
    if (frame.position <= last) return done(frame.cid); // it was said before, and stands there
    forget(frame.cid);
    lines.get(frame.cid)?.classList.remove('pending');
  },
  gap(frame) {
    if (!joined) return;
    if (frame.epoch !== epoch && frame.to <= start) setBack();
    else note('Some messages in between are no longer kept.');
    last = frame.to;
    epoch = frame.epoch;
  },
  presence(frame) {
    if (frame.members) return takePeople({ ...frame, presence: frame.number });
    const hole = frame.number !== presence + 1;
    presence = frame.number;
    count = frame.count;
    for (const who of [frame.joined, frame.renamed].flat()) if (who) people.set(who.sender_id, who);
    for (const who of frame.left || []) {
      people.delete(who.sender_id);
      typing.delete(who.sender_id);
    }
    if (hole && count <= NAMES) send({ type: 'who', room });
    showPeople();
    showTyping();
  },
  who(frame) {
    takePeople(frame, frame.ref === 'more');
    const after = frame.members.at(-1)?.sender;
    if (frame.more && after && people.size < NAMES) send({ type: 'who', ref: 'more', room, after });
  },
  typing(frame) {
    if (frame.sender_id === me) return;
    if (frame.on) typing.set(frame.sender_id, frame.sender);
    else typing.delete(frame.sender_id);
    showTyping();
  },
  status(frame) {
    const who = people.get(frame.sender_id);
    if (who) who.status = frame.status;
    showPeople();
  },
  left(frame) {
    joined = false;
    halt(frame.message);
  },
  bye(frame) {
    if (frame.retry_after_ms) notBefore = Date.now() + frame.retry_after_ms;
    state(frame.message, 'off');
  },
  error(frame) {
    const wait = frame.retry_after_ms || 0;
    if (frame.cid) return refused(frame);
    if (frame.code === 'bad_session') {
      newSession();
      return hello();
    }
    const passes = LATER.includes(frame.code);
    if (frame.ref === 'earlier') {
      asking = false;
      if (passes) setTimeout(watch, Math.max(wait, 3000));
    }
    if (!joined && passes) {
      notBefore = Date.now() + wait;
      return retry();
    }
    if (frame.ref === 'hello') return askName(frame.message);
    return (joined ? say : halt)(frame.message);
  },
};

function receive(frame) {
  if (Object.hasOwn(on, frame.type)) on[frame.type](frame);
}

// ---- posting

const save = () => keep(sessionStorage, 'chat.outbox', JSON.stringify(outbox));

function post(item) {
  item.sent ||= Date.now();
  flying.add(item.cid);
  tell(item, '');
  send({ type: 'post', room, cid: item.cid, content: item.text });
}

// Sends what waits. Who sends again later than the hub remembers may say it twice.
function flush() {
  later = 0;
  for (const item of outbox) {
    if (item.failed || flying.has(item.cid)) continue;
    if (item.sent && Date.now() - item.sent > horizon) fail(item, 'it may have been sent before; please look.');
    else post(item);
  }
  save();
}

function forget(cid) {
  flying.delete(cid);
  outbox = outbox.filter((item) => item.cid !== cid);
  save();
}

function done(cid) {
  forget(cid);
  lines.get(cid)?.remove();
  lines.delete(cid);
}

function pending(item) {
  const line = message({ sender: name, sender_id: me, content: item.text });
  line.append(element('small'));
  list.append(line);
  lines.set(item.cid, line);
  tell(item, 'Waiting to be sent');
}

// Says at a post's line how it stands.
function tell(item, text) {
  const line = lines.get(item.cid);
  if (!line) return;
  line.className = item.failed ? 'mine failed' : 'mine pending';
  line.lastElementChild.textContent = item.failed ? `Not sent: ${item.failed} ` : text;
  if (!item.failed) return;
  const back = element('button', 'Take it back');
  back.onclick = () => {
    done(item.cid);
    box.value = [item.text, box.value].filter(Boolean).join('\n');
    box.focus();
  };
  line.lastElementChild.append(back);
}

function fail(item, why) {
  item.failed = why;
  tell(item);
  save();
}

// What may work later is tried later; anything else is told at the message.
function refused(frame) {
  const item = outbox.find(({ cid }) => cid === frame.cid);
  flying.delete(frame.cid);
  if (!item) return;
  if (!LATER.includes(frame.code)) return fail(item, frame.message);
  tell(item, `Waiting: ${frame.message}`);
  later ||= setTimeout(flush, Math.max(backoff(refusals++), frame.retry_after_ms || 0));
}

const say = (text) => { $('notice').textContent = text; };

function submit(event) {
  event.preventDefault();
  const text = box.value.replace(/[^\P{Cc}\n\t]/gu, '').trim(); // no control characters
  say('');
  if (!text) return;
  if (new TextEncoder().encode(text).length > limit) return say(`Too long: ${limit} bytes are possible.`);
  if (outbox.length >= UNSENT) return say('Too many messages wait to be sent.');
  const item = { cid: random(), text };
  outbox.push(item);
  pending(item);
  save();
  if (joined && !later) flush();
  box.value = '';
  typed = 0;
  list.scrollTop = list.scrollHeight;
}

// ---- showing

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const LINK = /\b(?:https?:\/\/|mailto:)[^\s<>"\u200b-\u200f\u202a-\u202e\u2066-\u2069]+/gi;

function link(text) {
  const made = element('a', text);
  made.href = text;
  if (!['http:', 'https:', 'mailto:'].includes(made.protocol)) return null; // as the URL parser has it
  made.rel = 'noopener noreferrer nofollow';
  made.target = '_blank';
  return made;
}

function words(text) {
  const made = element('span', '', 'text');
  made.dir = 'auto';
  let at = 0;
  for (const found of text.matchAll(LINK)) {
    const shown = found[0].replace(/[.,;:!?)\]}'*_]+$/, '');
    const anchor = link(shown);
    if (!anchor) continue;
    made.append(text.slice(at, found.index), anchor);
    at = found.index + shown.length;
  }
  made.append(text.slice(at));
  return made;
}

// Changes what stands above the reader's place, which stays where it is.
function keepPlace(change) {
  const below = list.scrollHeight - list.scrollTop;
  change();
  list.scrollTop = list.scrollHeight - below;
}

const atEnd = () => list.scrollHeight - list.scrollTop - list.clientHeight < 80;

// Puts a line behind all messages; the outbox stays last.
function add(line) {
  const end = atEnd();
  const most = end ? SHOWN : MOST;
  list.insertBefore(line, lines.values().next().value || null);
  if (list.children.length > most && !asking) {
    keepPlace(() => {
      while (list.children.length > most)
        list.children[list.firstElementChild === earlier ? 1 : 0].remove();
    });
    if (!more) showEarlier(true);
  }
  if (end) list.scrollTop = list.scrollHeight;
}

const oldest = () => [...list.children].find((line) => line.entry)?.entry;

function askEarlier() {
  if (asking || !joined || !more) return;
  asking = true;
  send({ type: 'history', ref: 'earlier', room, before: oldest()?.position ?? last + 1, limit: PAGE });
}

function showEarlier(are) {
  const full = list.children.length >= MOST;
  more = are && !full;
  if (!more && document.activeElement === button) list.focus();
  earlier.replaceChildren(more ? button : full ? 'This page holds no more.'
    : oldest()?.prev ? 'Older messages are no longer kept.' : 'The beginning of the room.');
  watch();
}

// An observer tells what is in sight when it begins.
function watch() {
  sight.unobserve(earlier);
  if (more) sight.observe(earlier);
}

// The log is not the one that was read: what was said stays, apart, until the log turns out to have it still.
function setBack() {
  const end = atEnd();
  const waiting = outbox.map(({ cid }) => lines.get(cid));
  const said = [...list.children].filter((line) => line !== earlier && !waiting.includes(line));
  for (const [cid, line] of lines) if (said.includes(line)) lines.delete(cid);
  for (const line of said) {
    line.classList.add('gone');
    line.entry = null;
  }
  gone = new Map(said.map((line) => [line.key, line]));
  list.prepend(...said, earlier);
  if (said.length) earlier.before(element('li', 'The server lost messages: those above may be gone.', 'note'));
  showEarlier(true);
  if (end) list.scrollTop = list.scrollHeight;
}

// The line of an entry; other lines that stood for it go.
function message(entry) {
  const { position, sender, sender_id: id, cid, content, timestamp, redacted } = entry;
  const line = element('li', '', id === me ? 'mine' : '');
  if (position) {
    line.entry = entry;
    line.key = [position, timestamp, id].join();
    gone.get(line.key)?.remove();
    if (id === me && lines.has(cid)) done(cid);
  }
  const who = element('b');
  who.append(element('bdi', sender || '—'));
  line.append(who);
  if (timestamp) {
    const at = new Date(timestamp);
    const dateStyle = at.toDateString() === new Date().toDateString() ? undefined : 'medium';
    const time = element('time', at.toLocaleString([], { dateStyle, timeStyle: 'short' }));
    time.dateTime = timestamp;
    line.append(time);
  }
  line.append(redacted ? element('small', 'This message was removed.') : words(content));
  return line;
}

const note = (text) => add(element('li', text, 'note'));

const people = new Map(); // sender_id → { sender, status }
let presence = 0; // number of the last difference that `people` contains
let count = 0;

function takePeople(frame, more) {
  if (!more) people.clear();
  for (const who of frame.members || []) people.set(who.sender_id, who);
  presence = frame.presence;
  count = frame.count;
  showPeople();
}

function showPeople() {
  const shown = [...people.values()].sort((a, b) => a.sender.localeCompare(b.sender)).slice(0, NAMES);
  $('here').textContent = `Here: ${count}`;
  $('people').replaceChildren(...shown.map((who) => {
    const line = element('li');
    line.append(element('bdi', who.sender));
    if (who.sender_id === me) line.append(' (you)');
    if (who.status) line.append(' ', element('small', who.status));
    return line;
  }));
  if (shown.length && count > shown.length) $('people').append(element('li', `and ${count - shown.length} more`));
}

const typing = new Map(); // sender_id → name

function showTyping() {
  const names = [...typing.values()];
  const who = names.length > 3 ? `${names.length} people` : names.join(', ');
  $('typing').textContent = who && `${who} ${names.length > 1 ? 'are' : 'is'} typing …`;
}

// ---- the person

function show(chat) {
  halted = !chat;
  $('enter').hidden = chat;
  $('chat').hidden = $('rename').hidden = !chat;
}

function askName(trouble) {
  show(false);
  $('trouble').textContent = trouble || '';
  $('name').value = wish;
  $('name').focus();
  if (!joined) state('Waiting for your name', 'wait');
}

function enter() {
  const first = $('chat').hidden;
  show(true);
  if (first) box.focus();
}

let typed = 0;

$('enter').onsubmit = (event) => {
  event.preventDefault();
  wish = $('name').value.trim();
  if (!wish) return;
  if (socket?.readyState === WebSocket.OPEN) hello();
  else connect();
};
$('rename').onclick = () => askName();
$('again').onclick = connect;
$('say').onsubmit = submit;
button.onclick = askEarlier;
box.onkeydown = (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) submit(event);
};
box.oninput = () => {
  const on = box.value !== '';
  if (!joined || (on ? Date.now() - typed < 3000 : !typed)) return;
  typed = on ? Date.now() : 0;
  send({ type: 'typing', room, on });
};
document.onvisibilitychange = () => {
  if (document.hidden) return;
  unread = 0;
  document.title = room;
};
addEventListener('online', () => { if (!socket && !halted && wish) connect(); });
setInterval(() => {
  if (!socket) return;
  const silent = Date.now() - heard;
  if (silent > 2 * SILENCE) retry();
  else if (silent > SILENCE) send({ type: 'ping' });
}, 5000);

// ---- beginning

function newSession() {
  session = random();
  keep(sessionStorage, 'chat.session', session);
}

function begin() {
  earlier.id = 'earlier';
  list.append(earlier);
  showEarlier(true);
  outbox.forEach(pending);
  if (!name) return askName();
  enter();
  connect();
}

// A duplicated tab begins with a copy of the other's session: whoever has it already says so.
const tabs = new BroadcastChannel('chat.tabs');
let settled = false;
tabs.onmessage = ({ data }) => {
  if (data.ask === session && settled) tabs.postMessage({ mine: session });
  if (data.mine !== session || settled) return;
  newSession();
  outbox = [];
  save();
};
tabs.postMessage({ ask: session });
setTimeout(() => {
  settled = true;
  if (!session) newSession();
  findPath().then(begin);
}, session ? 150 : 0);
