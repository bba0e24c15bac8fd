'use strict';
// The page's client: one room over chathub.v1 (docs/protocol.md). A room is a log and this page a cursor in it:
// `last` and `epoch` say how far it has read, so that after any loss it goes on there. A post stays in the outbox,
// under a cid of its own, until it was acknowledged, and is sent again after each reconnect; the hub keeps one.

const $ = (id) => document.getElementById(id);
const SHOWN = 500; // messages kept on the page
const NAMES = 200; // people listed
const SILENCE = 25000; // ms without a word after which the page asks whether the hub is there

const keep = (store, key, value) => {
  try {
    if (value === undefined) return store.getItem(key);
    store.setItem(key, value);
  } catch { /* storage may be forbidden; the page then forgets */ }
  return null;
};

function random(bytes) {
  const raw = crypto.getRandomValues(new Uint8Array(bytes));
  return btoa(String.fromCharCode(...raw)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '');
}

let socket = null;
let path = '/ws'; // of the WebSocket
let name = keep(localStorage, 'chat.name') || '';
let wish = name; // what hello asks for
let session = keep(sessionStorage, 'chat.session') || '';
let me = ''; // our sender_id
let room = 'general';
let epoch = '';
let last = 0; // position of the newest entry that was shown
let joined = false;
let halted = false; // no reconnect by itself: replaced, refused, or a name is needed
let tries = 0;
let notBefore = 0; // the hub's wish (bye)
let heard = 0;
let limit = Infinity; // bytes of a post
let timer = 0;
let unread = 0;
let outbox = []; // { cid, text }: not acknowledged yet
try {
  outbox = JSON.parse(keep(sessionStorage, 'chat.outbox')) || [];
} catch { /* nothing to send */ }
const lines = new Map(); // cid → its line, until its entry came

// ------------------------------------------------------------------------------------------------ connection

const send = (frame) => socket && socket.readyState === WebSocket.OPEN && socket.send(JSON.stringify(frame));

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
  const url = new URL(path, location.href);
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  const mine = new WebSocket(url, 'chathub.v1');
  socket = mine;
  mine.onopen = () => { heard = Date.now(); hello(); };
  mine.onmessage = (event) => { heard = Date.now(); receive(JSON.parse(event.data)); };
  mine.onclose = (event) => { if (socket === mine) lost(event); };
}

// Forgets the connection at once: one that hangs may take minutes to say so.
function drop() {
  const old = socket;
  socket = null;
  joined = false;
  if (old) old.close();
}

function lost(event) {
  drop();
  typing.clear();
  showTyping();
  if (event.code === 4001) return halt('This chat goes on in another tab.');
  if ([1002, 1003, 1007, 1008, 1009].includes(event.code)) return halt('The server ended this: ' + (event.reason || 'not allowed') + '.');
  if (!halted) retry();
}

function halt(text) {
  halted = true;
  state(text, 'off');
  $('again').hidden = false;
}

function retry() {
  const most = Math.min(30000, 500 * 2 ** tries++);
  const wait = Math.max(most * (0.5 + Math.random() / 2), notBefore - Date.now() + Math.random() * 500);
  notBefore = 0;
  state(`Connection lost; trying again in ${Math.ceil(wait / 1000)} s …`, 'off');
  clearTimeout(timer);
  timer = setTimeout(connect, wait);
}

function hello() {
  const frame = { type: 'hello', ref: 'hello', name: wish, session };
  if (epoch) frame.rooms = [{ room, after: last, epoch }];
  send(frame);
}

// ------------------------------------------------------------------------------------------------ from the hub

const on = {
  welcome(frame) {
    if (frame.ref !== 'hello') return;
    name = wish = frame.sender;
    me = frame.sender_id;
    keep(localStorage, 'chat.name', name);
    if (frame.limits) limit = frame.limits.content;
    if (!frame.renamed && !epoch) {
      room = frame.default_room || room;
      send({ type: 'join', ref: 'join', room, now: true });
    }
    enter();
    if (joined) state(`Connected as ${name}`, 'on');
  },
  joined(frame) {
    if (!epoch && frame.start) send({ type: 'history', room, before: frame.start + 1 });
    if (epoch && epoch !== frame.epoch) last = frame.start;
    epoch = frame.epoch;
    last = Math.max(last, frame.start);
    joined = true;
    tries = 0;
    $('room').textContent = frame.room;
    state(`Connected as ${name}`, 'on');
    takePeople(frame);
    if (!frame.members && frame.count <= NAMES) send({ type: 'who', room });
    outbox.forEach(post);
  },
  chat(frame) {
    if (frame.position <= last) return;
    last = frame.position;
    settle(frame);
    append(message(frame));
    if (document.hidden) document.title = `(${++unread}) ${room}`;
    typing.delete(frame.sender_id);
    showTyping();
  },
  history(frame) {
    $('messages').prepend(...frame.entries.map((entry) => {
      settle(entry);
      return message(entry);
    }));
    $('messages').scrollTop = $('messages').scrollHeight;
  },
  ack(frame) {
    forget(frame.cid);
    const line = lines.get(frame.cid);
    if (line) line.classList.remove('pending');
  },
  gap(frame) {
    if (frame.epoch === epoch) last = Math.max(last, frame.to);
    note('Some messages in between are no longer kept.');
  },
  presence(frame) {
    if (frame.members) return takePeople({ ...frame, presence: frame.number });
    const hole = frame.number !== presence + 1;
    presence = frame.number;
    count = frame.count;
    for (const who of frame.joined || []) people.set(who.sender_id, who);
    for (const who of frame.renamed || []) people.set(who.sender_id, who);
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
    const names = frame.members.length;
    if (frame.more && names && people.size < NAMES)
      send({ type: 'who', ref: 'more', room, after: frame.members[names - 1].sender });
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
    halt(frame.message || 'You are no longer in this room.');
  },
  bye(frame) {
    if (frame.retry_after_ms) notBefore = Date.now() + frame.retry_after_ms;
    state(frame.message || 'The server says goodbye.', 'off');
  },
  error(frame) {
    if (frame.cid) return refused(frame);
    if (frame.code === 'bad_session') {
      newSession();
      return hello();
    }
    if (frame.ref === 'hello') return askName(frame.message);
    if (frame.ref === 'join') return halt(frame.message);
    return say(frame.message);
  },
};

function receive(frame) {
  if (Object.hasOwn(on, frame.type)) on[frame.type](frame);
}

// ------------------------------------------------------------------------------------------------ posting

const save = () => keep(sessionStorage, 'chat.outbox', JSON.stringify(outbox));
const post = ({ cid, text }) => send({ type: 'post', room, cid, content: text });

function forget(cid) {
  outbox = outbox.filter((item) => item.cid !== cid);
  save();
}

function pending(item) {
  const line = append(message({ sender: name, sender_id: me, content: item.text }));
  line.classList.add('pending');
  lines.set(item.cid, line);
}

// A post's own entry takes the place of the line that waited for it.
function settle(frame) {
  const line = frame.sender_id === me && frame.cid ? lines.get(frame.cid) : null;
  if (frame.sender_id === me && frame.cid) forget(frame.cid);
  if (line) {
    lines.delete(frame.cid);
    line.remove();
  }
}

// What may work later is tried later; anything else is told at the message.
function refused(frame) {
  const item = outbox.find(({ cid }) => cid === frame.cid);
  if (!item) return;
  if (['busy', 'log_failed', 'unknown', 'no_memory', 'shutdown'].includes(frame.code)) {
    setTimeout(() => joined && outbox.includes(item) && post(item), frame.retry_after_ms || 2000);
    return;
  }
  forget(frame.cid);
  const line = lines.get(frame.cid);
  lines.delete(frame.cid);
  if (!line) return;
  line.classList.add('failed');
  line.append(element('small', 'Not sent: ' + frame.message));
}

const say = (text) => { $('notice').textContent = text; };

function submit(event) {
  event.preventDefault();
  const text = $('text').value.replace(/[^\P{Cc}\n\t]/gu, '').trim(); // no control characters
  say('');
  if (!text) return;
  if (new TextEncoder().encode(text).length > limit) return say(`Too long: ${limit} bytes are possible.`);
  const item = { cid: random(16), text };
  outbox.push(item);
  save();
  pending(item);
  if (joined) post(item);
  $('text').value = '';
  typed = 0;
  $('messages').scrollTop = $('messages').scrollHeight;
}

// ------------------------------------------------------------------------------------------------ showing

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const LINK = /\b(?:https?:\/\/|mailto:)[^\s<>"\u200b-\u200f\u202a-\u202e\u2066-\u2069]+/gi;

function link(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  if (!['http:', 'https:', 'mailto:'].includes(url.protocol)) return null;
  const made = element('a', text);
  made.href = url.href;
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

function append(line) {
  const list = $('messages');
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  list.append(line);
  while (list.children.length > SHOWN) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
  return line;
}

function message({ sender, sender_id: id, content, timestamp, redacted }) {
  const line = element('li', '', id === me ? 'mine' : '');
  const who = element('b');
  who.append(element('bdi', sender || '—'));
  line.append(who);
  if (timestamp) {
    const time = element('time', new Date(timestamp).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));
    time.dateTime = timestamp;
    line.append(time);
  }
  line.append(redacted ? element('small', 'This message was removed.') : words(content));
  return line;
}

const note = (text) => append(element('li', text, 'note'));

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
  const verb = names.length === 1 ? ' is typing …' : ' are typing …';
  $('typing').textContent = names.length === 0 ? ''
    : (names.length > 3 ? `${names.length} people` : names.join(', ')) + verb;
}

// ------------------------------------------------------------------------------------------------ the person

function askName(trouble) {
  halted = true;
  $('enter').hidden = false;
  $('chat').hidden = true;
  $('rename').hidden = true;
  $('trouble').textContent = trouble || '';
  $('name').value = wish;
  $('name').focus();
  if (!joined) state('Waiting for your name', 'wait');
}

function enter() {
  const first = $('chat').hidden;
  halted = false;
  $('enter').hidden = true;
  $('chat').hidden = false;
  $('rename').hidden = false;
  if (first) $('text').focus();
}

let typed = 0;

$('enter').addEventListener('submit', (event) => {
  event.preventDefault();
  wish = $('name').value.trim();
  if (!wish) return;
  if (socket && socket.readyState === WebSocket.OPEN) hello();
  else connect();
});
$('rename').addEventListener('click', () => askName());
$('again').addEventListener('click', connect);
$('say').addEventListener('submit', submit);
$('text').addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) submit(event);
});
$('text').addEventListener('input', () => {
  if (joined && $('text').value && Date.now() - typed > 3000) {
    typed = Date.now();
    send({ type: 'typing', room, on: true });
  } else if (joined && !$('text').value && typed) {
    typed = 0;
    send({ type: 'typing', room, on: false });
  }
});
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  unread = 0;
  document.title = room;
});
addEventListener('online', () => { if (!socket && !halted && wish) connect(); });
setInterval(() => {
  if (!joined) return;
  if (Date.now() - heard > 2 * SILENCE) {
    drop();
    retry();
  } else if (Date.now() - heard > SILENCE) {
    send({ type: 'ping' });
  }
}, 5000);

// ------------------------------------------------------------------------------------------------ beginning

function newSession() {
  session = random(16);
  keep(sessionStorage, 'chat.session', session);
}

function begin() {
  outbox.forEach(pending);
  if (name) connect();
  else askName();
}

// A duplicated tab begins with a copy of the other's session: whoever has it already says so.
const tabs = new BroadcastChannel('chat.tabs');
let settled = false;
tabs.onmessage = ({ data }) => {
  if (data.ask === session && settled) tabs.postMessage({ mine: session });
  if (data.mine === session && !settled) {
    newSession();
    outbox = [];
  }
};
tabs.postMessage({ ask: session });
setTimeout(() => {
  settled = true;
  if (!session) newSession();
  findPath().then(begin);
}, session ? 150 : 0);
