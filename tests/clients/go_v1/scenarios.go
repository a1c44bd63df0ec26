package main

import (
	"strings"
	"time"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/service/sqs"
)

// A standard message from its birth to its end. The SDK compares the MD5 of the body.
func lifeCycle() answer {
	url := newQueue("life-cycle", map[string]string{"VisibilityTimeout": "60"})
	sent := must(client.SendMessage(&sqs.SendMessageInput{
		QueueUrl:    url,
		MessageBody: aws.String("hello 日本 <&>\r\n\t" + strings.Repeat("ö", 100_000)),
		MessageAttributes: map[string]*sqs.MessageAttributeValue{
			"seat": {DataType: aws.String("Binary.png"), BinaryValue: []byte{0, 255, 13, 10}},
			"row":  {DataType: aws.String("Number.int"), StringValue: aws.String("12")},
		},
		MessageSystemAttributes: map[string]*sqs.MessageSystemAttributeValue{
			"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String("Root=1-5759e988")},
		},
	}))
	first := receive(url)[0]
	hidden := receive(url)
	must(client.ChangeMessageVisibility(&sqs.ChangeMessageVisibilityInput{
		QueueUrl: url, ReceiptHandle: first.ReceiptHandle, VisibilityTimeout: aws.Int64(0),
	}))
	second := receive(url)[0]
	must(client.DeleteMessage(&sqs.DeleteMessageInput{
		QueueUrl: url, ReceiptHandle: second.ReceiptHandle,
	}))
	return answer{
		"same message":      *first.MessageId == *sent.MessageId && *second.MessageId == *sent.MessageId,
		"length":            len(*second.Body),
		"begins":            (*second.Body)[:18],
		"seat":              string(second.MessageAttributes["seat"].BinaryValue) == "\x00\xff\r\n",
		"row":               *second.MessageAttributes["row"].DataType,
		"trace":             *second.Attributes["AWSTraceHeader"],
		"receives":          *second.Attributes["ApproximateReceiveCount"],
		"seen while hidden": len(hidden),
		"left":              left(url),
	}
}

// Every list and map that a program may leave empty without leaving it out.
func empty() answer {
	url := must(client.CreateQueue(&sqs.CreateQueueInput{
		QueueName: aws.String("empty"), Attributes: aws.StringMap(nil), Tags: aws.StringMap(nil),
	})).QueueUrl
	must(client.SendMessage(&sqs.SendMessageInput{
		QueueUrl:                url,
		MessageBody:             aws.String("a"),
		MessageAttributes:       map[string]*sqs.MessageAttributeValue{},
		MessageSystemAttributes: map[string]*sqs.MessageSystemAttributeValue{},
	}))
	must(client.SendMessageBatch(&sqs.SendMessageBatchInput{
		QueueUrl: url,
		Entries: []*sqs.SendMessageBatchRequestEntry{{
			Id:                      aws.String("b"),
			MessageBody:             aws.String("b"),
			MessageAttributes:       map[string]*sqs.MessageAttributeValue{},
			MessageSystemAttributes: map[string]*sqs.MessageSystemAttributeValue{},
		}},
	}))
	received := must(client.ReceiveMessage(&sqs.ReceiveMessageInput{
		QueueUrl:              url,
		MaxNumberOfMessages:   aws.Int64(10),
		AttributeNames:        []*string{},
		MessageAttributeNames: []*string{},
	})).Messages
	attributes := must(client.GetQueueAttributes(&sqs.GetQueueAttributesInput{
		QueueUrl: url, AttributeNames: []*string{},
	})).Attributes
	_, sent := client.SendMessageBatch(&sqs.SendMessageBatchInput{
		QueueUrl: url, Entries: []*sqs.SendMessageBatchRequestEntry{},
	})
	_, changed := client.ChangeMessageVisibilityBatch(&sqs.ChangeMessageVisibilityBatchInput{
		QueueUrl: url, Entries: []*sqs.ChangeMessageVisibilityBatchRequestEntry{},
	})
	_, deleted := client.DeleteMessageBatch(&sqs.DeleteMessageBatchInput{
		QueueUrl: url, Entries: []*sqs.DeleteMessageBatchRequestEntry{},
	})
	value := &sqs.MessageAttributeValue{
		DataType: aws.String("String"), StringValue: aws.String("a"), StringListValues: []*string{},
	}
	_, list := client.SendMessage(&sqs.SendMessageInput{
		QueueUrl: url, MessageBody: aws.String("a"),
		MessageAttributes: map[string]*sqs.MessageAttributeValue{"n": value},
	})
	return answer{
		"received":       len(received),
		"its attributes": len(received[0].Attributes) + len(received[0].MessageAttributes),
		"attributes":     len(attributes),
		"sent":           code(sent),
		"changed":        code(changed),
		"deleted":        code(deleted),
		"an empty list":  code(list),
	}
}

// Batches in which one entry is refused and the others are carried out.
func batches() answer {
	url := newQueue("batches", map[string]string{"MaximumMessageSize": "1024"})
	sent := must(client.SendMessageBatch(&sqs.SendMessageBatchInput{
		QueueUrl: url,
		Entries: []*sqs.SendMessageBatchRequestEntry{
			{Id: aws.String("good"), MessageBody: aws.String("a")},
			{Id: aws.String("long"), MessageBody: aws.String(strings.Repeat("b", 1025))},
			{Id: aws.String("late"), MessageBody: aws.String("c"), DelaySeconds: aws.Int64(900)},
		},
	}))
	afterwards := left(url)
	handle := receive(url)[0].ReceiptHandle
	changed := must(client.ChangeMessageVisibilityBatch(&sqs.ChangeMessageVisibilityBatchInput{
		QueueUrl: url,
		Entries: []*sqs.ChangeMessageVisibilityBatchRequestEntry{
			{Id: aws.String("good"), ReceiptHandle: handle, VisibilityTimeout: aws.Int64(60)},
			{Id: aws.String("bad"), ReceiptHandle: aws.String("no handle"), VisibilityTimeout: aws.Int64(60)},
		},
	}))
	removed := must(client.DeleteMessageBatch(&sqs.DeleteMessageBatchInput{
		QueueUrl: url,
		Entries: []*sqs.DeleteMessageBatchRequestEntry{
			{Id: aws.String("good"), ReceiptHandle: handle},
			{Id: aws.String("bad"), ReceiptHandle: aws.String("no handle")},
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
	}
}

// A long poll ends with a send, and with a timeout of its own.
func waiting() answer {
	url := newQueue("waiting", nil)
	long := func(seconds int64) []*sqs.Message {
		return must(client.ReceiveMessage(&sqs.ReceiveMessageInput{
			QueueUrl: url, WaitTimeSeconds: aws.Int64(seconds),
		})).Messages
	}
	polled := make(chan []*sqs.Message)
	began := time.Now()
	go func() { polled <- long(20) }()
	time.Sleep(500 * time.Millisecond)
	must(client.SendMessage(&sqs.SendMessageInput{QueueUrl: url, MessageBody: aws.String("wake up")}))
	woken := <-polled
	wokenWithin := time.Since(began)
	return answer{
		"woken":         *woken[0].Body,
		"woken at once": wokenWithin < 5*time.Second,
		"empty":         len(long(1)),
	}
}
