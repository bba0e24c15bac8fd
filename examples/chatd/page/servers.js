'use strict';
// The servers to choose from: those that /server.json names, and others by their ports. HTTP goes to the page's own
// alone; another is reached by its WebSocket, if it lets the page in.

const home = { port: 0, path: '/ws' }; // the page's own
const own = Number(location.port) || (location.protocol === 'https:' ? 443 : 80); // the page's port
let servers = [home]; // { name, port, path, removable, peer: it is a node of the same chat }
let probe = null; // asks a server whether it lets this page in

// Nodes of one chat share what the page keeps: one goes on there as the same person, and misses nothing.
const slot = ({ port, peer }) => (peer ? 0 : port);
const known = (port) => (port === own ? home : servers.find((one) => one.port === port))
  || { name: `Port ${port}`, port, path: '/ws' };
const inform = (...parts) => $('about').replaceChildren(...parts);

const keepServers = () => keep(sessionStorage, 'chat.servers', JSON.stringify([at.port, ...places.keys()]));

async function askServers() {
  const { port, name, removable } = known(at?.port);
  try {
    const told = await (await fetch('/server.json', { signal: AbortSignal.timeout(5000) })).json();
    // Behind a proxy: the first.
    home.path = (told.sockets.find((one) => one.port === own) || told.sockets[0]).path || home.path;
    home.name = told.name;
    servers = [home, ...(told.servers || []).filter((one) => one.name !== told.name)];
    $('create').hidden = !told.create;
    if (removable && port === at.port && !servers.some((one) => one.port === port)) {
      clearTimeout(timer);
      halt(`${name} was ended.`); // whoever has its port next is another
    }
  } catch { /* then it is where it usually is */ }
  showServers();
}

function showServers() {
  const buttons = $('known');
  const all = [...new Set([...servers, ...[...places.keys()].map(known)])];
  const focus = document.activeElement?.dataset.port;
  buttons.replaceChildren(...all.map((one) => {
    const made = element('button', one.name);
    made.dataset.port = one.port;
    made.onclick = () => go(one);
    made.ariaCurrent = one.port === at?.port;
    return made;
  }));
  [...buttons.children].find((one) => one.dataset.port === focus)?.focus();
  $('remove').hidden = !known(at?.port).removable;
  $('servers').hidden = all.length < 2 && $('create').hidden;
}

// Goes to a server, for the first time only if it can be reached.
function go(server) {
  const { port, name } = server;
  probe = null;
  inform();
  if (port === at.port) return;
  if (places.has(port)) return visit(server);
  const mine = probe = dial(server);
  inform(`Connecting to ${name} …`);
  mine.onopen = mine.onerror = ({ type }) => {
    mine.close();
    if (probe !== mine) return;
    const page = link(`${location.protocol}//${location.hostname}:${port}/`);
    if (type === 'error') return inform(`${name} is not there or does not let this page in. Its own page: `, page);
    inform();
    if ($('other').open) box.focus();
    $('other').open = false;
    visit(server);
  };
}

// Has a server made or ended; answers whether it was.
async function order(method, port) {
  const answer = await fetch(`/api/create-server?port=${port}`, { method }).catch(() => null);
  inform(answer ? await answer.text() : 'The server of this page does not answer.');
  await askServers();
  return answer?.ok;
}

$('ports').onsubmit = (event) => {
  event.preventDefault();
  go(known($('port').valueAsNumber));
};
$('create').onclick = async () => {
  const port = $('port').valueAsNumber;
  if ($('ports').reportValidity() && await order('POST', port)) go(known(port));
};
$('remove').onclick = async () => {
  const old = at;
  if (!confirm(`End ${known(old.port).name} for everybody?`) || !await order('DELETE', old.port)) return;
  places.delete(old.port);
  keep(sessionStorage, old.key('outbox'), '[]');
  $('known').firstElementChild.focus();
  if (at === old) return visit(home);
  keepServers();
  showServers();
};

// A duplicated tab begins with a copy of the other's sessions: whoever has them already says so.
const tabs = new BroadcastChannel('chat.tabs');
let tab = keep(sessionStorage, 'chat.tab');
let settled = false;
tabs.onmessage = ({ data }) => {
  if (data.ask === tab && settled) tabs.postMessage({ mine: tab });
  if (data.mine !== tab || settled) return;
  sessionStorage.clear();
  tab = '';
};
tabs.postMessage({ ask: tab });
setTimeout(async () => {
  settled = true;
  tab ||= random();
  keep(sessionStorage, 'chat.tab', tab);
  const ports = JSON.parse(keep(sessionStorage, 'chat.servers')) || [0]; // where the page is, and where it was
  await askServers();
  for (const server of ports.map(known)) places.set(slot(server), place(server));
  visit(known(ports[0]));
}, tab ? 150 : 0);
