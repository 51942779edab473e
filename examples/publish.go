// Publishes an event to a room of the cluster: go run publish.go ROOM EVENT [TEXT]...
package main

import (
	"context"
	"log"
	"os"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"
)

func main() {
	room, data := os.Args[1], os.Args[2:] // the event and its arguments
	packet := map[string]any{"type": 2, "nsp": "/", "data": data}
	options := map[string]any{"rooms": []string{room}, "except": []string{}, "flags": map[string]any{}}
	message, err := msgpack.Marshal([]any{"emitter", packet, options})
	if err != nil {
		log.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS_ADDRESS")}) // default: localhost:6379
	if err := client.Publish(context.Background(), "socket.io#/#"+room+"#", message).Err(); err != nil {
		log.Fatal(err)
	}
}
