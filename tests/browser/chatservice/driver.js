// A headless Chromium that does what lines on stdin say, one at a time: {"do":NAME,"tab":NUMBER,…} is answered on stdout
// by {"value":…} or {"error":TEXT}. Each tab is a person's of its own. It ends at the end of stdin.
'use strict';

const { createInterface } = require('node:readline');
const { chromium } = require('playwright-core');

const [program, patience] = [process.argv[2], Number(process.argv[3])];
const tabs = new Map();
let browser;

// Runs in each page before its own scripts: counts the WebSockets that it tries to open, in vain or not.
function countTries() {
  window.tries = 0;
  window.WebSocket = class extends WebSocket {
    constructor(...given) {
      super(...given);
      window.tries += 1;
    }
  };
}

// Keeps each WebSocket for which a page reached a server: its address, and the frames that came.
function record(page) {
  const sockets = [];
  page.on('websocket', (socket) => {
    const kept = { url: socket.url(), frames: [] };
    sockets.push(kept);
    socket.on('framereceived', ({ payload }) => kept.frames.push(payload.toString()));
  });
  return sockets;
}

const commands = {
  async open({ tab, url, clock }) {
    const context = await browser.newContext();
    const page = await context.newPage();
    page.setDefaultTimeout(patience);
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    tabs.set(tab, { context, page, errors, sockets: record(page) });
    await page.addInitScript(countTries);
    if (clock) await page.clock.install();
    await page.goto(url);
  },

  // What an expression is in the page.
  value: ({ tab, script }) => tabs.get(tab).page.evaluate(script),

  until: async ({ tab, script }) => {
    await tabs.get(tab).page.waitForFunction(script, undefined, { polling: 20 });
  },

  async say({ tab, text }) {
    const { page } = tabs.get(tab);
    await page.fill('input', text);
    await page.press('input', 'Enter');
  },

  reload: async ({ tab }) => {
    await tabs.get(tab).page.reload();
  },

  // Lets time pass in a page whose clock was taken over.
  pass: ({ tab, ms }) => tabs.get(tab).page.clock.runFor(ms),

  sockets: ({ tab }) => tabs.get(tab).sockets,

  // Closes all tabs; the exceptions that nobody caught in their pages.
  async close() {
    const errors = [...tabs.values()].flatMap((tab) => tab.errors);
    await Promise.all([...tabs.values()].map((tab) => tab.context.close()));
    tabs.clear();
    return errors;
  },
};

async function main() {
  const root = process.getuid() === 0;
  browser = await chromium.launch({
    executablePath: program, args: root ? ['--no-sandbox'] : [], chromiumSandbox: !root, timeout: patience,
  });
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    const answer = await Promise.resolve(commands[request.do](request)).then(
      (value) => ({ value: value ?? null }), (error) => ({ error: String(error) }));
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
  await browser.close();
}

main();
