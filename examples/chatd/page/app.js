'use strict';
// The page's client: one room over chathub.v1 (docs/protocol.md). A room is a log and this page a cursor in it:
// `last`, read under `epoch`, says how far it has read, so that after any loss it goes on there. A post stays in the
// outbox, under a cid of its own, until it was acknowledged, and is sent again after each reconnect and reload; the
// hub keeps one. The list is: what a lost log had said (`gone`), `earlier` (older messages are put behind it),
// messages in the order of their positions, the outbox (`lines`). All this is of one server (`at`), which servers.js
// chooses.

const $ = (id) => document.getElementById(id);
const list = $('messages');
const box = $('text');
const SHOWN = 500; // lines kept while the end is read
const MOST = 5000; // and while older ones are
const NAMES = 200; // people listed
const SILENCE = 25000; // ms without a word until the hub is asked for one
const LATER = ['busy', 'full', 'log_failed', 'no_memory', 'shutdown', 'unknown']; // refusals that pass

const keep = (store, key, value) => {
  try {
    if (value === undefined) return store.getItem(key);
    store.setItem(key, value);
  } catch { /* forbidden: the page then forgets */ }
  return null;
};

const random = () => crypto.getRandomValues(new Uint32Array(4)).join('-');

let socket = null;
let at = null; // the server where the page is, as `place` makes it
let current = ''; // epoch of this connection
let start = 0; // position after which this connection's entries follow
let joined = false;
let asking = false; // for what is before the oldest message
let trouble = ''; // the notice that this failed
let halted = true; // no reconnect: replaced, refused, or without a name
let tries = 0;
let notBefore = 0; // the hub's wish (bye)
let heard = 0;
let timer = 0; // reconnects
let later = 0; // timer: sends what was refused for now
let refusals = 0;
let unread = 0;
const flying = new Set(); // cids sent over this connection, without an answer yet
const button = element('button', 'Earlier messages');
const earlier = Object.assign(element('li', '', 'note'), { id: 'earlier' });
const sight = new IntersectionObserver((seen) => seen.at(-1).isIntersecting && askEarlier(),
  { root: list, rootMargin: '200px 0px' });

// ---- connection

const backoff = (times) => Math.random() * Math.min(30000, 1000 * 2 ** times);
const isOpen = () => socket?.readyState === WebSocket.OPEN;
const send = (frame) => isOpen() && socket.send(JSON.stringify(frame));
const ask = (type, fields) => send({ type, room: at.room, ...fields });

function state(text, is = '') {
  $('state').textContent = text;
  $('state').dataset.is = is;
}

// Port 0 is where the page came from, perhaps through a proxy.
function dial({ port, path }) {
  const url = new URL(path, location.href.replace(/^http/, 'ws'));
  if (port) url.port = port;
  return new WebSocket(url, 'chathub.v1');
}

function connect() {
  drop();
  halted = false;
  $('again').hidden = true;
  state('Connecting …');
  const mine = socket = dial(at);
  heard = Date.now();
  mine.onopen = hello;
  mine.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    heard = Date.now();
    on[frame.type]?.(frame);
  };
  mine.onclose = (event) => { if (socket === mine) lost(event); };
}

// Forgets the connection at once: one that hangs may take minutes to say so. With a code the session goes on.
function drop() {
  const old = socket;
  socket = null;
  joined = asking = false;
  clearTimeout(timer);
  clearTimeout(later);
  later = 0;
  typing.clear();
  showTyping();
  flying.clear();
  at.outbox.forEach((item) => tell(item));
  old?.close(4000);
}

function lost(event) {
  drop();
  askServers(); // it may be one that was removed
  if (event.code === 4001) halt('This chat goes on in another tab.');
  else if ($('chat').hidden) state('Not connected', 'off');
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
  timer = setTimeout(connect, wait);
}

function hello() {
  const { room, last: after, epoch, wish, session } = at;
  send({ type: 'hello', ref: 'hello', name: wish, session, rooms: epoch && !joined ? [{ room, after, epoch }] : [] });
}

// ---- from the hub

const on = {
  __proto__: null,
  welcome(frame) {
    const { sender: name, sender_id: me, limits, horizon_ms: horizon } = frame;
    Object.assign(at, { name, wish: name, me, limit: limits.content, horizon });
    keep(localStorage, at.key('name'), name);
    if (!at.epoch) send({ type: 'join', ref: 'join', now: true });
    enter();
    if (joined) state(`Connected as ${name}`, 'on');
  },
  joined(frame) {
    if (!at.epoch && frame.ref !== 'join') return; // where the page was before it was loaded anew
    current = frame.epoch;
    start = frame.start;
    at.room = frame.room;
    joined = true;
    tries = 0;
    $('room').textContent = at.room;
    state(`Connected as ${at.name}`, 'on');
    takePeople(frame);
    if (!frame.members && frame.count <= NAMES) ask('who');
    if (!at.epoch) {
      at.last = start;
      at.epoch = current;
      askEarlier();
    }
    watch();
    flush();
  },
  chat(frame) {
    if (!joined || frame.position <= at.last) return;
    at.last = frame.position;
    at.epoch = current;
    add(message(frame));
    if (document.hidden) document.title = `(${++unread}) ${at.room}`;
    typing.delete(frame.sender_id);
    showTyping();
  },
  history(frame) {
    const first = oldest()?.position ?? Infinity;
    asking = false;
    if (trouble && $('notice').textContent === trouble) say('');
    trouble = '';
    quietly(() => keepPlace(() => {
      earlier.after(...frame.entries.filter(({ position }) => position < first).map(message));
      showEarlier(frame.more);
    }));
  },
  ack(frame) {
    refusals = 0;
    if (frame.position <= at.last) return done(frame.cid); // it was said before, and stands there
    forget(frame.cid);
    at.lines.get(frame.cid)?.classList.remove('pending');
  },
  gap(frame) {
    if (!joined) return;
    if (frame.epoch !== at.epoch && frame.to <= start) setBack();
    else add(element('li', 'Some messages in between are no longer kept.', 'note'));
    at.last = frame.to;
    at.epoch = frame.epoch;
  },
  presence(frame) {
    if (frame.members) return takePeople({ ...frame, presence: frame.number });
    if (frame.number <= presence) return;
    const { joined: came = [], left: gone = [], renamed = [] } = frame;
    for (const who of [...came, ...renamed]) people.set(who.sender_id, who);
    for (const who of gone) {
      people.delete(who.sender_id);
      typing.delete(who.sender_id);
    }
    told(came, 'joined');
    told(gone, 'left');
    count = frame.count;
    if (frame.number > ++presence && count <= NAMES) ask('who');
    presence = frame.number;
    showPeople();
    showTyping();
  },
  who(frame) {
    takePeople(frame, frame.ref === 'more');
    const last = frame.members.at(-1);
    if (frame.more && last && people.size < NAMES)
      ask('who', { ref: 'more', after: last.sender, after_id: last.sender_id });
  },
  typing(frame) {
    if (frame.sender_id === at.me) return;
    typing[frame.on ? 'set' : 'delete'](frame.sender_id, frame.sender);
    showTyping();
  },
  status(frame) {
    Object.assign(people.get(frame.sender_id) || {}, { status: frame.status });
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
    if (frame.cid) return refused(frame);
    if (frame.code === 'bad_session') return hello(newSession());
    const wait = frame.retry_after_ms || 0;
    const passes = LATER.includes(frame.code);
    if (frame.ref === 'earlier') {
      asking = false;
      trouble = frame.message;
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

// ---- posting

const save = () => keep(sessionStorage, at.key('outbox'), JSON.stringify(at.outbox));

// Sends what waits. Who sends again later than the hub remembers may say it twice.
function flush() {
  later = 0;
  for (const item of at.outbox) {
    const { cid, text: content, sent = Date.now() } = item;
    if (item.failed || flying.has(cid)) continue;
    if (Date.now() - sent > at.horizon) {
      fail(item, 'it may have been sent before; please look.');
      continue;
    }
    item.sent = sent;
    flying.add(cid);
    tell(item, '');
    ask('post', { cid, content });
  }
  save();
}

function forget(cid) {
  flying.delete(cid);
  at.outbox = at.outbox.filter((item) => item.cid !== cid);
  save();
}

function done(cid) {
  forget(cid);
  at.lines.get(cid)?.remove();
  at.lines.delete(cid);
}

function pending(item) {
  const line = message({ sender: at.name, sender_id: at.me, content: item.text });
  line.append(element('small'));
  list.append(line);
  at.lines.set(item.cid, line);
  tell(item);
}

// Says at a post's line how it stands.
function tell(item, text = 'Waiting to be sent') {
  const line = at.lines.get(item.cid);
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
  const item = at.outbox.find(({ cid }) => cid === frame.cid);
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
  if (new TextEncoder().encode(text).length > at.limit) return say(`Too long: ${at.limit} bytes are possible.`);
  if (at.outbox.length >= 100) return say('Too many messages wait to be sent.');
  const item = { cid: random(), text };
  at.outbox.push(item);
  pending(item);
  save();
  if (joined && !later) flush();
  box.value = '';
  typed = 0;
  toEnd();
}

// ---- showing

function element(tag, textContent = '', className = '') {
  return Object.assign(document.createElement(tag), { textContent, className });
}

const LINK = /\b(?:https?:\/\/|mailto:)[^\s<>"\u200b-\u200f\u202a-\u202e\u2066-\u2069]+/gi;

function link(text) {
  const made = element('a', text);
  made.href = text;
  if (!['http:', 'https:', 'mailto:'].includes(made.protocol)) return null; // as the URL parser has it
  return Object.assign(made, { rel: 'noopener noreferrer nofollow', target: '_blank' });
}

function words(text) {
  const made = element('span', '', 'text');
  made.dir = 'auto';
  let end = 0;
  for (const found of text.matchAll(LINK)) {
    const shown = found[0].replace(/[.,;:!?)\]}'*_]+$/, '');
    const anchor = link(shown);
    if (!anchor) continue;
    made.append(text.slice(end, found.index), anchor);
    end = found.index + shown.length;
  }
  made.append(text.slice(end));
  return made;
}

// Changes what stands above the reader's place, which stays where it is.
function keepPlace(change) {
  const below = list.scrollHeight - list.scrollTop;
  change();
  list.scrollTop = list.scrollHeight - below;
}

// Shows what is no news: screen readers do not read it out.
function quietly(change) {
  list.ariaLive = 'off';
  change();
  setTimeout(() => { list.ariaLive = 'polite'; }, 1000);
}

const atEnd = () => list.scrollHeight - list.scrollTop - list.clientHeight < 80;
const toEnd = () => { list.scrollTop = list.scrollHeight; };

const firstUnsent = () => at.lines.values().next().value || null;

// Puts a line behind all messages; the outbox stays last.
function add(line) {
  const end = atEnd();
  const most = end ? SHOWN : MOST;
  list.insertBefore(line, firstUnsent());
  if (list.children.length > most && !asking) {
    keepPlace(() => {
      while (list.children.length > most)
        list.children[list.firstElementChild === earlier ? 1 : 0].remove();
    });
    if (!at.more) showEarlier(true);
  }
  if (end) toEnd();
}

const oldest = () => [...list.children].find((line) => line.entry)?.entry;

function askEarlier() {
  if (asking || !joined || !at.more) return;
  asking = true;
  ask('history', { ref: 'earlier', before: oldest()?.position ?? at.last + 1, limit: 50 });
}

function showEarlier(are) {
  const full = list.children.length >= MOST;
  at.more = are && !full;
  if (!at.more && document.activeElement === button) list.focus();
  earlier.replaceChildren(at.more ? button : full ? 'This page holds no more.'
    : oldest()?.prev ? 'Older messages are no longer kept.' : 'The beginning of the room.');
  watch();
}

// An observer tells what is in sight when it begins.
function watch() {
  sight.unobserve(earlier);
  if (at.more) sight.observe(earlier);
}

// The log is not the one that was read: what was said stays, apart, until the log turns out to have it still.
function setBack() {
  const end = atEnd();
  const waiting = at.outbox.map(({ cid }) => at.lines.get(cid));
  const said = [...list.children].filter((line) => line !== earlier && !waiting.includes(line));
  for (const [cid, line] of at.lines) if (said.includes(line)) at.lines.delete(cid);
  for (const line of said) {
    line.classList.add('gone');
    line.entry = null;
  }
  at.gone = new Map(said.map((line) => [line.key, line]));
  list.prepend(...said, earlier);
  if (said.length) earlier.before(element('li', 'The server lost messages: those above may be gone.', 'note'));
  showEarlier(true);
  if (end) toEnd();
}

// The line of an entry; other lines that stood for it go.
function message(entry) {
  const { position, sender, sender_id: id, cid, content, timestamp, redacted } = entry;
  const line = element('li', '', id === at.me ? 'mine' : '');
  if (position) {
    line.entry = entry;
    line.key = [position, timestamp, id].join();
    at.gone.get(line.key)?.remove();
    if (id === at.me && at.lines.has(cid)) done(cid);
  }
  const who = element('b');
  who.append(element('bdi', sender || '—'));
  line.append(who);
  if (timestamp) {
    const when = new Date(timestamp);
    const dateStyle = when.toDateString() === new Date().toDateString() ? undefined : 'medium';
    const time = element('time', when.toLocaleString([], { dateStyle, timeStyle: 'short' }));
    time.dateTime = timestamp;
    line.append(time);
  }
  line.append(redacted ? element('small', 'This message was removed.') : words(content));
  return line;
}

// Says who came or went, in one line who does the same.
function told(whom, how) {
  let names = whom.filter((who) => who.sender_id !== at.me).map((who) => who.sender);
  if (!names.length) return;
  const before = firstUnsent()?.previousElementSibling || list.lastElementChild;
  if (before.how === how && before.names.length < MOST) {
    names = [...before.names, ...names];
    before.remove();
  }
  const line = Object.assign(element('li', '', 'note came'), { how, names });
  const parts = names.length > 3 ? [...names.slice(0, 2), `${names.length - 2} others`] : names;
  parts.forEach((part, i) => line.append(i ? (parts[i + 1] ? ', ' : ' and ') : '', element('bdi', part)));
  line.append(` ${how}`);
  add(line);
}

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
  $('here').textContent = count ? `Here: ${count}` : 'Here';
  $('people').replaceChildren(...shown.map((who) => {
    const line = element('li');
    line.append(element('bdi', who.sender));
    if (who.sender_id === at.me) line.append(' (you)');
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

function askName(trouble = '') {
  show(false);
  $('trouble').textContent = trouble;
  $('name').value = at.wish || keep(localStorage, 'chat.name');
  $('name').focus();
  if (!joined) state('Waiting for your name');
}

function enter() {
  const first = $('chat').hidden;
  show(true);
  if (first) box.focus();
}

let typed = 0;

$('enter').onsubmit = (event) => {
  event.preventDefault();
  at.wish = $('name').value.trim();
  if (!at.wish) return;
  if (isOpen()) hello();
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
  ask('typing', { on });
};
document.onvisibilitychange = () => {
  if (document.hidden || !at) return;
  unread = 0;
  document.title = at.room;
};
// The end stays in sight when a keyboard opens: only the reader leaves it.
let height = 0;
list.onscroll = () => list.clientHeight === height && Object.assign(at, { top: list.scrollTop, end: atEnd() });
new ResizeObserver(() => {
  height = list.clientHeight;
  if (at?.end) toEnd();
}).observe(list);
addEventListener('online', () => { if (!socket && !halted && at.wish) connect(); });
setInterval(() => {
  if (!socket) return;
  const silent = Date.now() - heard;
  if (silent > 2 * SILENCE) retry();
  else if (silent > SILENCE) send({ type: 'ping' });
}, 5000);

// ---- the server

const places = new Map(); // slot (servers.js) → what `place` made

// What the page keeps of a server while it is at another.
function place(server) {
  const { port, path } = server;
  const key = (what) => `chat.${what}${slot(server) ? `.${slot(server)}` : ''}`; // in the browser's storage
  const name = keep(localStorage, key('name'));
  return {
    port, path, key, name,
    wish: name, // what hello asks for
    session: keep(sessionStorage, key('session')),
    // { cid, text, sent: when first, failed: why for good }: not acknowledged yet
    outbox: JSON.parse(keep(sessionStorage, key('outbox'))) || [],
    room: 'general',
    last: 0, // position of the newest entry that was received,
    epoch: '', // under this epoch; they change together
    lines: new Map(), // cid → its line, until its entry came
    gone: new Map(), // key → line, of a log that was lost
    more: true, // there is something before the oldest message
    shown: [earlier], // the list, while the page is elsewhere
    end: true, // it is scrolled to its end, else to `top`
    draft: '',
    // from welcome: `me`, our sender_id; `limit`, bytes of a post; `horizon`, ms for which the hub knows a cid
  };
}

function newSession() {
  at.session = random();
  keep(sessionStorage, at.key('session'), at.session);
}

// Leaves the present server for this one.
function visit(server) {
  if (at) {
    drop();
    Object.assign(at, { shown: [...list.children], draft: box.value });
  }
  at = places.get(slot(server)) || place(server);
  Object.assign(at, { port: server.port, path: server.path });
  places.set(slot(server), at);
  keepServers();
  showServers();
  if (!at.session) newSession();
  tries = typed = unread = notBefore = refusals = 0;
  box.value = at.draft;
  $('room').textContent = document.title = at.room;
  $('again').hidden = true;
  say('');
  takePeople({ count: 0 });
  if (at.name) enter();
  quietly(() => list.replaceChildren(...at.shown));
  if (!at.lines.size) at.outbox.forEach(pending);
  showEarlier(at.more);
  if (at.end) toEnd();
  else list.scrollTop = at.top;
  if (at.name) connect();
  else askName();
}
