package main

import (
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// A standard message from its birth to its end. The SDK compares the MD5 of body and attributes.
func lifeCycle() answer {
	url := newQueue("life-cycle", map[string]string{"VisibilityTimeout": "60"})
	sent := must(client.SendMessage(background, &sqs.SendMessageInput{
		QueueUrl:    url,
		MessageBody: aws.String("hello 日本 <&>\r\n\t" + strings.Repeat("ö", 100_000)),
		MessageAttributes: map[string]types.MessageAttributeValue{
			"seat":  {DataType: aws.String("Binary.png"), BinaryValue: []byte{0, 255, 13, 10}},
			"row":   {DataType: aws.String("Number.int"), StringValue: aws.String("12")},
			"title": {DataType: aws.String("String"), StringValue: aws.String("Götterdämmerung & co")},
		},
		MessageSystemAttributes: map[string]types.MessageSystemAttributeValue{
			"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String("Root=1-5759e988")},
		},
	}))
	first := receive(url)[0]
	hidden := receive(url)
	release(url, first)
	second := receive(url)[0]
	remove(url, second)
	remove(url, second)
	return answer{
		"same message":      *first.MessageId == *sent.MessageId && *second.MessageId == *sent.MessageId,
		"length":            len(*second.Body),
		"begins":            (*second.Body)[:18],
		"seat":              asNumbers(second.MessageAttributes["seat"].BinaryValue),
		"seat type":         second.MessageAttributes["seat"].DataType,
		"row":               second.MessageAttributes["row"].StringValue,
		"title":             second.MessageAttributes["title"].StringValue,
		"trace":             second.Attributes["AWSTraceHeader"],
		"receives":          second.Attributes["ApproximateReceiveCount"],
		"sender":            second.Attributes["SenderId"],
		"seen while hidden": len(hidden),
		"left":              left(url),
	}
}

func asNumbers(bytes []byte) []int {
	numbers := make([]int, len(bytes))
	for index, value := range bytes {
		numbers[index] = int(value)
	}
	return numbers
}

// Batches in which one entry is refused and the others are carried out.
func batches() answer {
	url := newQueue("batches", map[string]string{"MaximumMessageSize": "1024"})
	sent := must(client.SendMessageBatch(background, &sqs.SendMessageBatchInput{
		QueueUrl: url,
		Entries: []types.SendMessageBatchRequestEntry{
			{Id: aws.String("good"), MessageBody: aws.String("a")},
			{Id: aws.String("long"), MessageBody: aws.String(strings.Repeat("b", 1025))},
			{Id: aws.String("late"), MessageBody: aws.String("c"), DelaySeconds: 900},
		},
	}))
	afterwards := left(url)
	handle := receive(url)[0].ReceiptHandle
	changed := must(client.ChangeMessageVisibilityBatch(background, &sqs.ChangeMessageVisibilityBatchInput{
		QueueUrl: url,
		Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
			{Id: aws.String("good"), ReceiptHandle: handle, VisibilityTimeout: 60},
			{Id: aws.String("bad"), ReceiptHandle: aws.String("no handle"), VisibilityTimeout: 60},
		},
	}))
	removed := must(client.DeleteMessageBatch(background, &sqs.DeleteMessageBatchInput{
		QueueUrl: url,
		Entries: []types.DeleteMessageBatchRequestEntry{
			{Id: aws.String("good"), ReceiptHandle: handle},
			{Id: aws.String("bad"), ReceiptHandle: aws.String("no handle")},
		},
	}))
	gone := must(client.ChangeMessageVisibilityBatch(background, &sqs.ChangeMessageVisibilityBatchInput{
		QueueUrl: url,
		Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
			{Id: aws.String("gone"), ReceiptHandle: handle, VisibilityTimeout: 0},
		},
	}))
	var ids []string
	for _, entry := range sent.Successful {
		ids = append(ids, *entry.Id)
	}
	return answer{
		"sent":            ids,
		"not sent":        failures(sent.Failed),
		"after the batch": afterwards,
		"changed":         len(changed.Successful),
		"not changed":     failures(changed.Failed),
		"removed":         len(removed.Successful),
		"not removed":     failures(removed.Failed),
		"gone":            failures(gone.Failed),
	}
}
