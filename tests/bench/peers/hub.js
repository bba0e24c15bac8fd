// A hub in the usual design on node's ws, to compare with: one process, a set of clients for each
// room, an entry made into bytes once and sent to each member.
//
// It speaks as much of the native protocol as chatbench needs: join, post, ack and chat. What a
// socket does not take waits in memory, so nothing is lost. Prints its URL; ends when its standard
// input does.
'use strict';
const { WebSocketServer } = require('ws');

const rooms = new Map(); // by name: { last: position of its newest entry, members }
let lastPosition = 0;

function bytesOf(message) {
  return Buffer.from(JSON.stringify(message));
}

function tell(client, bytes) {
  client.send(bytes, { binary: false });
}

function join(client, name) {
  if (!rooms.has(name)) {
    rooms.set(name, { name, last: 0, members: new Set() });
  }
  client.room = rooms.get(name);
  client.room.members.add(client);
  const { last } = client.room;
  tell(client, bytesOf({ type: 'joined', room: name, position: last, start: last }));
}

function post(client, { content, cid }) {
  const room = client.room;
  const position = ++lastPosition;
  const bytes = bytesOf({
    type: 'chat', room: room.name, position, prev: room.last, sender: 'guest-abcdef',
    sender_id: '0123456789abcdef', content, cid, timestamp: new Date().toISOString(),
  });
  room.last = position;
  for (const member of room.members) {
    tell(member, bytes);
  }
  tell(client, bytesOf({ type: 'ack', position, cid }));
}

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, path: '/ws', perMessageDeflate: false });

server.on('connection', (client) => {
  client.room = null;
  client.on('message', (text) => {
    const request = JSON.parse(text);
    if (request.type === 'join' && !client.room) {
      join(client, request.room);
    } else if (request.type === 'post' && client.room) {
      post(client, request);
    }
  });
  client.on('close', () => client.room && client.room.members.delete(client));
  client.on('error', () => client.terminate());
});
server.on('listening', () => console.log(`ws://127.0.0.1:${server.address().port}/ws`));
process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
