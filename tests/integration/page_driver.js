'use strict';
// Runs the page's scripts in node, with just as much of a browser as they use: page_driver.js INDEX.HTML HTTP-URL
// Commands come as JSON lines on standard input; what a person would see is written as a JSON line after each change.
// Anything that would make markup of text is missing on purpose.
const fs = require('fs');
const path = require('path');
const readline = require('readline');
const vm = require('vm');
const { webcrypto } = require('crypto');
const WebSocket = require('ws');

const [page, address] = process.argv.slice(2);
let dirty = false;

function touch() {
  if (dirty) return;
  dirty = true;
  setImmediate(() => {
    dirty = false;
    process.stdout.write(JSON.stringify(seen()) + '\n');
  });
}

class Element {
  constructor(tag) {
    Object.assign(this, { tag, children: [], parent: null, hidden: false, value: '', dataset: {} });
    this.classes = new Set();
    this.classList = {
      add: (name) => { this.classes.add(name); touch(); },
      remove: (name) => { this.classes.delete(name); touch(); },
    };
    Object.assign(this, { scrollHeight: 0, scrollTop: 0, clientHeight: 0 });
    return new Proxy(this, { set: (on, key, value) => { Reflect.set(on, key, value); touch(); return true; } });
  }
  set className(names) { this.classes = new Set(names.split(' ').filter(Boolean)); }
  set textContent(text) { this.children = [String(text)]; }
  get textContent() { return this.children.map((child) => (typeof child === 'string' ? child : child.textContent)).join(''); }
  get firstElementChild() { return this.children.find((child) => child instanceof Element); }
  get lastElementChild() { return this.children.findLast((child) => child instanceof Element); }
  put(at, nodes) {
    for (const node of nodes) {
      if (!(node instanceof Element)) continue;
      node.remove();
      node.parent = this;
    }
    this.children.splice(Math.min(at(), this.children.length), 0, ...nodes);
    touch();
  }
  place(of) { return this.children.findIndex((child) => child.node === of.node); }
  append(...nodes) { this.put(() => Infinity, nodes); }
  prepend(...nodes) { this.put(() => 0, nodes); }
  before(...nodes) { this.parent.put(() => this.parent.place(this), nodes); }
  after(...nodes) { this.parent.put(() => this.parent.place(this) + 1, nodes); }
  insertBefore(node, next) { this.put(() => (next ? this.place(next) : Infinity), [node]); }
  replaceChildren(...nodes) {
    for (const child of this.children) if (child instanceof Element) child.parent = null;
    this.children = [];
    this.append(...nodes);
  }
  remove() {
    if (!this.parent) return;
    this.parent.children.splice(this.parent.place(this), 1);
    this.parent = null;
    touch();
  }
  get previousElementSibling() { return this.parent?.children[this.parent.place(this) - 1]; }
  get node() { return this.identity || (this.identity = Symbol('node')); }
  get protocol() { return URL.canParse(this.href) ? new URL(this.href).protocol : ':'; }
  dispatch(kind, event) { this[`on${kind}`]({ preventDefault() {}, ...event }); }
  focus() {}
  set innerHTML(_) { throw new Error('text must not become markup'); }
  set outerHTML(_) { throw new Error('text must not become markup'); }
  insertAdjacentHTML() { throw new Error('text must not become markup'); }
}

const byId = new Map();
const html = fs.readFileSync(page, 'utf8');
const scripts = [...html.matchAll(/<script src="\/(\w+\.js)"/g)].map(([, file]) => path.join(path.dirname(page), file));
for (const [, tag, id] of html.matchAll(/<(\w+) id="(\w+)"/g)) byId.set(id, new Element(tag));
for (const [, id] of html.matchAll(/id="(\w+)"[^>]*\shidden/g)) byId.get(id).hidden = true;
const $ = (id) => byId.get(id);

function links(element) {
  return element.children.flatMap((child) => (child instanceof Element
    ? (child.tag === 'a' ? [{ href: child.href, rel: child.rel, text: child.textContent }] : links(child)) : []));
}

// The button of the last line that failed.
const button = (list) => list.children.findLast((line) => line.classes.has('failed')).lastElementChild.lastElementChild;

// What a line says, without its sender and time.
const said = (line) => (line.children.find((child) => child.classes?.has('text')) || line).textContent;

function seen() {
  const came = $('messages').children.filter((line) => line.classes.has('came'));
  return {
    state: $('state').textContent,
    came: came.map((line) => line.textContent),
    lines: $('messages').children.filter((line) => line.id !== 'earlier').map(said),
    messages: $('messages').children.filter((line) => line.id !== 'earlier' && !came.includes(line)).map((line) => ({
      text: line.textContent,
      said: said(line),
      classes: [...line.classes],
      links: links(line),
    })),
    earlier: $('messages').children.findIndex((line) => line.id === 'earlier'),
    earlierSays: $('messages').children.find((line) => line.id === 'earlier')?.textContent ?? '',
    box: $('text').value,
    people: $('people').children.map((line) => line.textContent),
    here: $('here').textContent,
    typing: $('typing').textContent,
    trouble: $('trouble').textContent,
    notice: $('notice').textContent,
    asking: !$('enter').hidden,
    chatting: !$('chat').hidden,
    servers: $('servers').hidden ? [] : $('known').children.map((one) => one.textContent),
    again: !$('again').hidden,
    session: storage.session.values['chat.session'],
    outbox: storage.session.values['chat.outbox'] ?? '',
    name: storage.local.values['chat.name'],
  };
}

const makeStorage = () => ({
  values: {},
  getItem(key) { return key in this.values ? this.values[key] : null; },
  setItem(key, value) { this.values[key] = String(value); },
});
const storage = { local: makeStorage(), session: makeStorage() };
let current = null; // the page's socket

class PageSocket extends WebSocket {
  constructor(url, protocol) {
    super(String(url), protocol, { origin: new URL(address).origin });
    current = this;
  }
}

const quietTabs = class {
  postMessage() {}
};

// Without a layout, the top of the list is in sight when the test says so.
let sight = null;
class Sight {
  constructor(callback) { sight = this; this.callback = callback; this.watched = false; }
  observe() { this.watched = true; }
  unobserve() { this.watched = false; }
  look() { if (this.watched) this.callback([{ isIntersecting: true }]); }
}

function load() {
  const browser = vm.createContext({
    document: {
      getElementById: $,
      createElement: (tag) => new Element(tag),
      addEventListener() {},
      hidden: false,
    },
    location: new URL(address),
    localStorage: storage.local,
    sessionStorage: storage.session,
    WebSocket: PageSocket,
    BroadcastChannel: quietTabs,
    IntersectionObserver: Sight,
    ResizeObserver: class { observe() {} },
    crypto: webcrypto,
    addEventListener() {},
    fetch: (path, options) => fetch(new URL(path, address), options),
    AbortSignal, URL, TextEncoder, btoa, setTimeout, clearTimeout, setInterval, console, JSON, Date, Math,
  });
  for (const script of scripts) vm.runInContext(fs.readFileSync(script, 'utf8'), browser, { filename: script });
}

const commands = {
  load({ local, session }) {
    Object.assign(storage.local.values, local);
    Object.assign(storage.session.values, session);
    load();
  },
  enter({ name }) { $('name').value = name; $('enter').dispatch('submit'); },
  say({ text }) { $('text').value = text; $('say').dispatch('submit'); },
  type({ text }) { $('text').value = text; $('text').dispatch('input'); },
  click({ id }) { $(id).dispatch('click'); },
  drop() { current.terminate(); },
  scroll_up() { sight.look(); },
  take_back() { button($('messages')).dispatch('click'); },
  // A frame as if the hub had sent it.
  hear({ frame }) { current.onmessage({ data: JSON.stringify(frame) }); },
};

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
  touch();
}).on('close', () => process.exit(0));
