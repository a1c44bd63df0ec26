package main

import (
	"os"
	"strconv"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/sqs"
)

// What a scenario tells: by name, so that a test reads as a table.
type answer map[string]any

// Region and credentials come from the environment. Of the endpoint this SDK must be told.
var client = sqs.New(session.Must(session.NewSession(&aws.Config{
	Endpoint: aws.String(os.Getenv("AWS_ENDPOINT_URL_SQS")),
})))

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// Which protocol the SDK speaks to SQS.
func protocol() answer {
	if client.JSONVersion == "" {
		return answer{"protocol": "query"}
	}
	return answer{"protocol": "json " + client.JSONVersion}
}

func newQueue(name string, attributes map[string]string) *string {
	return must(client.CreateQueue(&sqs.CreateQueueInput{
		QueueName: &name, Attributes: aws.StringMap(attributes),
	})).QueueUrl
}

// All that can be received, with everything that there is to know of it.
func receive(url *string) []*sqs.Message {
	return must(client.ReceiveMessage(&sqs.ReceiveMessageInput{
		QueueUrl:              url,
		MaxNumberOfMessages:   aws.Int64(10),
		AttributeNames:        aws.StringSlice([]string{"All"}),
		MessageAttributeNames: aws.StringSlice([]string{"All"}),
	})).Messages
}

// The messages that are visible, in flight and delayed.
func left(url *string) []int {
	read := must(client.GetQueueAttributes(&sqs.GetQueueAttributesInput{
		QueueUrl: url, AttributeNames: aws.StringSlice([]string{"All"}),
	})).Attributes
	var counts []int
	for _, suffix := range []string{"", "NotVisible", "Delayed"} {
		counts = append(counts, must(strconv.Atoi(*read["ApproximateNumberOfMessages"+suffix])))
	}
	return counts
}

// What was refused of a batch: id, code, and whether it was the sender's fault.
func failures(entries []*sqs.BatchResultErrorEntry) [][]any {
	all := make([][]any, 0, len(entries))
	for _, entry := range entries {
		all = append(all, []any{*entry.Id, *entry.Code, *entry.SenderFault})
	}
	return all
}
