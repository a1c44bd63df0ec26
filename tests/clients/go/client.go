package main

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// What a scenario tells: by name, so that a test reads as a table.
type answer map[string]any

var background = context.Background()

// Endpoint, region and credentials come from the environment, as on a user's machine.
var client = sqs.NewFromConfig(must(config.LoadDefaultConfig(background, config.WithHTTPClient(
	patient{awshttp.NewBuildableClient()},
))))

// The SDK closes a request's body once the answer begins, and its body's WriteTo then fails. Where
// an answer comes so quickly that net/http is still looking for the body's end, net/http takes that
// for a broken connection, and the rest of an answer of more than 4 KB is lost
// (github.com/aws/aws-sdk-go-v2/issues/2737). A body without WriteTo just ends.
type patient struct{ *awshttp.BuildableClient }

func (client patient) Do(request *http.Request) (*http.Response, error) {
	if request.Body != nil {
		request.Body = struct{ io.ReadCloser }{request.Body}
	}
	return client.BuildableClient.Do(request)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func newQueue(name string, attributes map[string]string) *string {
	input := &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes}
	return must(client.CreateQueue(background, input)).QueueUrl
}

func arn(url *string) string {
	return attributesOf(url, types.QueueAttributeNameQueueArn)["QueueArn"]
}

func attributesOf(url *string, names ...types.QueueAttributeName) map[string]string {
	input := &sqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: names}
	return must(client.GetQueueAttributes(background, input)).Attributes
}

func send(url *string, body string) *sqs.SendMessageOutput {
	input := &sqs.SendMessageInput{QueueUrl: url, MessageBody: &body}
	return must(client.SendMessage(background, input))
}

// All that can be received, with everything that there is to know of it.
func receive(url *string, options ...func(*sqs.ReceiveMessageInput)) []types.Message {
	input := &sqs.ReceiveMessageInput{
		QueueUrl:                    url,
		MaxNumberOfMessages:         10,
		MessageAttributeNames:       []string{"All"},
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
	}
	for _, option := range options {
		option(input)
	}
	return must(client.ReceiveMessage(background, input)).Messages
}

func remove(url *string, message types.Message) {
	input := &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: message.ReceiptHandle}
	must(client.DeleteMessage(background, input))
}

func release(url *string, message types.Message) {
	must(client.ChangeMessageVisibility(background, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: url, ReceiptHandle: message.ReceiptHandle, VisibilityTimeout: 0,
	}))
}

func bodies(messages []types.Message) []string {
	all := make([]string, 0, len(messages))
	for _, message := range messages {
		all = append(all, aws.ToString(message.Body))
	}
	return all
}

// What was refused of a batch: id, code, and whether it was the sender's fault.
func failures(entries []types.BatchResultErrorEntry) [][]any {
	all := make([][]any, 0, len(entries))
	for _, entry := range entries {
		all = append(all, []any{*entry.Id, *entry.Code, entry.SenderFault})
	}
	return all
}

// The messages that are visible, in flight and delayed.
func left(url *string) []int {
	read := attributesOf(url, types.QueueAttributeNameAll)
	var counts []int
	for _, suffix := range []string{"", "NotVisible", "Delayed"} {
		counts = append(counts, must(strconv.Atoi(read["ApproximateNumberOfMessages"+suffix])))
	}
	return counts
}

// Ask again until the condition holds. The caller's patience ends a scenario that it never does in.
func await(condition func() bool) {
	for !condition() {
		time.Sleep(50 * time.Millisecond)
	}
}

func sorted(values []string) []string {
	slices.Sort(values)
	return values
}
