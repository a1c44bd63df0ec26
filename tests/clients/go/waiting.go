package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

func long(input *sqs.ReceiveMessageInput) { input.WaitTimeSeconds = 20 }

// Long polls end with a send, with a timeout of their own, and with a visibility timeout.
func waiting() answer {
	url := newQueue("waiting", nil)
	polled := make(chan []string)
	began := time.Now()
	go func() { polled <- bodies(receive(url, long)) }()
	time.Sleep(500 * time.Millisecond)
	send(url, "wake up")
	woken := <-polled
	wokenWithin := time.Since(began)

	began = time.Now()
	empty := receive(url, func(input *sqs.ReceiveMessageInput) { input.WaitTimeSeconds = 1 })
	emptyAfter := time.Since(began)

	short := newQueue("short", map[string]string{"VisibilityTimeout": "1"})
	send(short, "comes back")
	receive(short)
	back := receive(short, long)
	return answer{
		"woken":           woken,
		"woken at once":   wokenWithin < 5*time.Second,
		"empty":           len(empty),
		"waited a second": emptyAfter >= time.Second && emptyAfter < 5*time.Second,
		"came back":       bodies(back),
	}
}

// A poll that its caller gives up takes no message with it.
func stopping() answer {
	url := newQueue("stopping", nil)
	closed := make(chan struct{}, 1)
	poller := sqs.New(client.Options(), func(options *sqs.Options) {
		options.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(transport *http.Transport) {
			dial := transport.DialContext
			transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				connection, err := dial(ctx, network, address)
				return closing{connection, closed}, err
			}
		})
	})
	cancelled, cancel := context.WithCancel(background)
	polled := make(chan error)
	go func() {
		input := &sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: 20}
		_, err := poller.ReceiveMessage(cancelled, input)
		polled <- err
	}()
	time.Sleep(500 * time.Millisecond)
	cancel()
	err := <-polled
	// The broker learns of it from the closed connection.
	<-closed
	send(url, "late")
	return answer{"cancelled": errors.Is(err, context.Canceled), "left": left(url)}
}

// A connection that tells when it is closed.
type closing struct {
	net.Conn
	closed chan<- struct{}
}

func (connection closing) Close() error {
	err := connection.Conn.Close()
	select {
	case connection.closed <- struct{}{}:
	default:
	}
	return err
}
