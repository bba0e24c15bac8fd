// A hub in the usual design on gorilla/websocket, to compare with: for each room a goroutine, for
// each client a buffered channel and two goroutines, one that reads and one that writes.
//
// It speaks as much of the native protocol as chatbench needs: join, post, ack and chat. An entry
// is encoded once and prepared once for all members; each is a message of its own. A full channel
// makes the room wait, so nothing is lost. Prints its URL; ends when its standard input does.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

const queued = 1024 // messages that may wait for one client

type request struct {
	Type    string `json:"type"`
	Room    string `json:"room"`
	Content string `json:"content"`
	Cid     string `json:"cid"`
}

type joined struct {
	Type     string `json:"type"`
	Room     string `json:"room"`
	Position uint64 `json:"position"`
	Start    uint64 `json:"start"`
}

type ack struct {
	Type     string `json:"type"`
	Position uint64 `json:"position"`
	Cid      string `json:"cid"`
}

type entry struct {
	Type      string `json:"type"`
	Room      string `json:"room"`
	Position  uint64 `json:"position"`
	Prev      uint64 `json:"prev"`
	Sender    string `json:"sender"`
	SenderID  string `json:"sender_id"`
	Content   string `json:"content"`
	Cid       string `json:"cid"`
	Timestamp string `json:"timestamp"`
}

var (
	lastPosition uint64
	roomsLock    sync.Mutex
	rooms        = map[string]*room{}
	upgrader     = websocket.Upgrader{
		ReadBufferSize: 4096, WriteBufferSize: 4096, Subprotocols: []string{"chathub.v1"},
		CheckOrigin: func(*http.Request) bool { return true },
	}
)

type client struct {
	conn *websocket.Conn
	send chan *websocket.PreparedMessage
	gone chan struct{} // closed when it is read from no more
	room *room
}

type draft struct {
	from *client
	request
}

type room struct {
	name    string
	join    chan *client
	leave   chan *client
	post    chan draft
	members map[*client]bool
	last    uint64 // position of its newest entry
}

func prepare(message interface{}) *websocket.PreparedMessage {
	text, err := json.Marshal(message)
	if err != nil {
		log.Fatal(err)
	}
	prepared, err := websocket.NewPreparedMessage(websocket.TextMessage, text)
	if err != nil {
		log.Fatal(err)
	}
	return prepared
}

func findRoom(name string) *room {
	roomsLock.Lock()
	defer roomsLock.Unlock()
	r := rooms[name]
	if r == nil {
		r = &room{name: name, join: make(chan *client), leave: make(chan *client),
			post: make(chan draft, queued), members: map[*client]bool{}}
		rooms[name] = r
		go r.run()
	}
	return r
}

func (r *room) run() {
	for {
		select {
		case c := <-r.join:
			r.members[c] = true
			c.tell(prepare(joined{"joined", r.name, r.last, r.last}))
		case c := <-r.leave:
			delete(r.members, c)
		case d := <-r.post:
			r.show(d)
		}
	}
}

func (r *room) show(d draft) {
	position := atomic.AddUint64(&lastPosition, 1)
	message := prepare(entry{"chat", r.name, position, r.last, "guest-abcdef", "0123456789abcdef", d.Content,
		d.Cid, time.Now().UTC().Format("2006-01-02T15:04:05.000Z")})
	r.last = position
	for c := range r.members {
		c.tell(message)
	}
	d.from.tell(prepare(ack{"ack", position, d.Cid}))
}

// Waits while the channel is full.
func (c *client) tell(message *websocket.PreparedMessage) {
	select {
	case c.send <- message:
	case <-c.gone:
	}
}

func (c *client) write() {
	for {
		select {
		case message := <-c.send:
			if c.conn.WritePreparedMessage(message) != nil {
				c.conn.Close() // ends read, too
				return
			}
		case <-c.gone:
			return
		}
	}
}

func (c *client) read() {
	defer func() {
		close(c.gone)
		if c.room != nil {
			c.room.leave <- c
		}
		c.conn.Close()
	}()
	for {
		_, text, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		var r request
		if json.Unmarshal(text, &r) != nil {
			return
		}
		if r.Type == "join" && c.room == nil {
			c.room = findRoom(r.Room)
			c.room.join <- c
		} else if r.Type == "post" && c.room != nil {
			c.room.post <- draft{c, r}
		}
	}
}

func serve(w http.ResponseWriter, r *http.Request) {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &client{conn: conn, send: make(chan *websocket.PreparedMessage, queued), gone: make(chan struct{})}
	go c.write()
	go c.read()
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/ws", serve)
	go func() { log.Fatal(http.Serve(listener, nil)) }()
	fmt.Printf("ws://%s/ws\n", listener.Addr())
	io.Copy(io.Discard, os.Stdin)
}
