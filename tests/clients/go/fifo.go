package main

import (
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Two groups, sent twice: each is received in its order, once, and one at a time.
func fifo() answer {
	url := newQueue("orders.fifo", map[string]string{
		"FifoQueue": "true", "ContentBasedDeduplication": "true",
	})
	var entries []types.SendMessageBatchRequestEntry
	for number := range 6 {
		entries = append(entries, types.SendMessageBatchRequestEntry{
			Id:             aws.String(fmt.Sprint(number)),
			MessageBody:    aws.String(fmt.Sprintf("order %d", number)),
			MessageGroupId: aws.String(fmt.Sprintf("section-%d", number%2)),
		})
	}
	var numbers, repeated []string
	for _, into := range []*[]string{&numbers, &repeated} {
		sent := must(client.SendMessageBatch(background, &sqs.SendMessageBatchInput{
			QueueUrl: url, Entries: entries,
		}))
		for _, entry := range sent.Successful {
			*into = append(*into, *entry.SequenceNumber)
		}
	}
	attempt := func(input *sqs.ReceiveMessageInput) {
		input.MaxNumberOfMessages = 1
		input.ReceiveRequestAttemptId = aws.String("attempt-1")
	}
	first, again := receive(url, attempt)[0], receive(url, attempt)[0]
	others := receive(url)
	blocked := receive(url)
	remove(url, again)
	for _, message := range others {
		release(url, message)
	}
	groups := map[string][]string{}
	for {
		messages := receive(url)
		if len(messages) == 0 {
			break
		}
		for _, message := range messages {
			group := message.Attributes["MessageGroupId"]
			groups[group] = append(groups[group], *message.Body)
			remove(url, message)
		}
	}
	return answer{
		"ascending":        slices.IsSorted(numbers),
		"same numbers":     slices.Equal(numbers, repeated),
		"first":            *first.Body,
		"same attempt":     *first.ReceiptHandle == *again.ReceiptHandle,
		"first number":     first.Attributes["SequenceNumber"] == numbers[0],
		"while one is out": bodies(others),
		"while all are":    bodies(blocked),
		"groups":           groups,
		"left":             left(url),
	}
}
