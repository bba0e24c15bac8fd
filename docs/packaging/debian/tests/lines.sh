# Sourced by tests: chats over lines, by bash alone.

# start COMMAND…: starts a server and waits until it listens over TCP; sets `server` and `port`. What it says is
# to be read from descriptor 5.
start() {
    local line
    exec 5< <(exec "$@" 2>&1)
    server=$!
    while read -r -t 30 line <&5; do
        if [[ $line =~ tcp://127\.0\.0\.1:([0-9]+) ]]; then
            port=${BASH_REMATCH[1]}
            return 0
        fi
        echo "$line"
    done
    echo "does not listen: $*" >&2
    return 1
}

# stop: it ends when it is told to, without an error, and the tests' connections 3 and 4 before it.
stop() {
    exec 3<&- 4<&-
    kill -INT "$server"
    cat <&5
    wait "$server"
}

# hears DESCRIPTOR TEXT: waits for a line with TEXT.
hears() {
    local line
    while read -r -t 30 line <&"$1"; do
        [[ $line == *"$2"* ]] && return 0
    done
    echo "did not come: $2" >&2
    return 1
}
