// The page. Its address says who it is for and where the servers are: ?ports=8080,8081,8082&server=0&user=alice, or
// &token=TEXT for a token that says something else than the user, or neither for none.
'use strict';

const element = React.createElement;
const query = new URLSearchParams(location.search);
const ports = (query.get('ports') || '8080,8081,8082').split(',');
const user = query.get('user');

function Message({ message }) {
  return element('li', { 'data-id': message.id },
    element('time', { dateTime: message.time.toISOString() }, message.time.toLocaleTimeString()), ' ',
    element('b', null, message.user), ' ',
    element('span', null, message.text));
}

function Chat() {
  const { messages, state, send } = useChat({
    port: ports[Number(query.get('server') || 0)],
    token: query.get('token') ?? (user === null ? null : `user:${user}`),
    room: 'general',
    user,
  });
  const [text, setText] = React.useState('');
  const submit = (event) => {
    event.preventDefault();
    send(text);
    setText('');
  };
  return element('main', null,
    element('p', { id: 'state' }, state),
    element('ul', { id: 'messages' }, messages.map((message) => element(Message, { key: message.id, message }))),
    element('form', { onSubmit: submit },
      element('input', { 'aria-label': 'Message', value: text, onChange: (event) => setText(event.target.value) }),
      element('button', { disabled: state !== 'connected' }, 'Send')));
}

ReactDOM.createRoot(document.getElementById('root')).render(element(Chat));
