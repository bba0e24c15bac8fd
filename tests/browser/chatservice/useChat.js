// The hook of a front end of chatservice: one socket to one of the servers, in one room.
'use strict';

const RETRY_MS = 200;
const FOR_GOOD = [1000, 1001]; // close codes after which it does not come back

// One message of the room as the page shows it, or null for a frame that is none.
function readMessage(data) {
  const frame = JSON.parse(data);
  if (frame.type !== 'chat') return null;
  return {
    id: frame.message_id,
    user: frame.payload.user,
    text: frame.payload.text,
    time: new Date(frame.created_at),
  };
}

// token: as the server wants it, or null for none.
function useChat({ port, token, room, user }) {
  const [messages, setMessages] = React.useState([]);
  const [state, setState] = React.useState('connecting');
  const socket = React.useRef(null);
  const seen = React.useRef(new Set());
  const sent = React.useRef(0);

  React.useEffect(() => {
    let timer = null;
    let unmounted = false;

    function receive(event) {
      const message = readMessage(event.data);
      if (!message || seen.current.has(message.id)) return;
      seen.current.add(message.id);
      setMessages((before) => [...before, message]);
    }

    function connect() {
      const query = token === null ? '' : `?token=${encodeURIComponent(token)}`;
      const one = new WebSocket(`ws://localhost:${port}/ws${query}`);
      socket.current = one;
      one.onopen = () => {
        setState('connected');
        one.send(JSON.stringify({ action: 'join', room, client_id: `join-${Date.now()}` }));
      };
      one.onmessage = receive;
      one.onclose = ({ code, reason }) => {
        if (unmounted) return;
        setState(`disconnected ${code} ${reason}`.trim());
        if (!FOR_GOOD.includes(code)) timer = setTimeout(connect, RETRY_MS);
      };
    }

    connect();
    return () => {
      unmounted = true;
      clearTimeout(timer);
      socket.current.close(1000);
    };
  }, [port, token, room]);

  const send = React.useCallback((text) => {
    sent.current += 1;
    socket.current.send(JSON.stringify({
      action: 'message', room, type: 'chat', payload: { text, user }, client_id: `client-${sent.current}`,
    }));
  }, [room, user]);

  return { messages, state, send };
}
