'use strict';
// Runs the page's app.js in node, with just as much of a browser as it uses: page_driver.js APP.JS HTTP-URL
// Commands come as JSON lines on standard input; what a person would see is written as a JSON line after each change.
// Anything that would make markup of text is missing on purpose.
const fs = require('fs');
const readline = require('readline');
const vm = require('vm');
const { webcrypto } = require('crypto');
const WebSocket = require('ws');

const [script, address] = process.argv.slice(2);
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
    Object.assign(this, { tag, children: [], parent: null, listeners: {}, hidden: false, value: '', dataset: {} });
    this.classes = new Set();
    this.classList = {
      add: (name) => { this.classes.add(name); touch(); },
      remove: (name) => { this.classes.delete(name); touch(); },
    };
    Object.assign(this, { scrollHeight: 0, scrollTop: 0, clientHeight: 0 });
    return new Proxy(this, { set: (on, key, value) => { on[key] = value; touch(); return true; } });
  }
  set className(names) { this.classes = new Set(names.split(' ').filter(Boolean)); }
  set textContent(text) { this.children = [String(text)]; }
  get textContent() { return this.children.map((child) => (typeof child === 'string' ? child : child.textContent)).join(''); }
  get firstElementChild() { return this.children[0]; }
  append(...nodes) {
    for (const node of nodes) if (node instanceof Element) node.parent = this;
    this.children.push(...nodes);
    touch();
  }
  prepend(...nodes) {
    for (const node of nodes) if (node instanceof Element) node.parent = this;
    this.children.unshift(...nodes);
    touch();
  }
  replaceChildren(...nodes) { this.children = []; this.append(...nodes); }
  remove() {
    const list = this.parent.children;
    list.splice(list.findIndex((child) => child.key === this.key), 1);
    touch();
  }
  get key() { return this.identity || (this.identity = Symbol('node')); }
  addEventListener(kind, callback) { this.listeners[kind] = callback; }
  dispatch(kind, event) { this.listeners[kind]({ preventDefault() {}, ...event }); }
  focus() {}
  set innerHTML(_) { throw new Error('text must not become markup'); }
  set outerHTML(_) { throw new Error('text must not become markup'); }
  insertAdjacentHTML() { throw new Error('text must not become markup'); }
}

const byId = new Map();
const html = fs.readFileSync(script.replace('app.js', 'index.html'), 'utf8');
for (const [, tag, id] of html.matchAll(/<(\w+) id="(\w+)"/g)) byId.set(id, new Element(tag));
for (const [, id] of html.matchAll(/id="(\w+)"[^>]*\shidden/g)) byId.get(id).hidden = true;
const $ = (id) => byId.get(id);

function links(element) {
  return element.children.flatMap((child) => (child instanceof Element
    ? (child.tag === 'a' ? [{ href: child.href, rel: child.rel, text: child.textContent }] : links(child)) : []));
}

function seen() {
  return {
    state: $('state').textContent,
    messages: $('messages').children.map((line) => ({
      text: line.textContent, classes: [...line.classes], links: links(line),
    })),
    people: $('people').children.map((line) => line.textContent),
    here: $('here').textContent,
    typing: $('typing').textContent,
    trouble: $('trouble').textContent,
    notice: $('notice').textContent,
    asking: !$('enter').hidden,
    chatting: !$('chat').hidden,
    again: !$('again').hidden,
    session: storage.session.values['chat.session'],
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

function load() {
  vm.runInNewContext(fs.readFileSync(script, 'utf8'), {
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
    crypto: webcrypto,
    addEventListener() {},
    fetch: (path, options) => fetch(new URL(path, address), options),
    AbortSignal, URL, TextEncoder, btoa, setTimeout, clearTimeout, setInterval, console, JSON, Date, Math,
  });
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
};

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
  touch();
}).on('close', () => process.exit(0));
