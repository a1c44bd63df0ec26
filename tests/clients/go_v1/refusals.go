package main

import (
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/awserr"
	"github.com/aws/aws-sdk-go/service/sqs"
)

// The code that the SDK shows for a refusal.
func code(err error) string {
	var refused awserr.Error
	if !errors.As(err, &refused) {
		return "carried out"
	}
	return refused.Code()
}

func refusals() answer {
	url := newQueue("refusing", nil)
	newQueue("taken", map[string]string{"DelaySeconds": "1"})
	must(client.PurgeQueue(&sqs.PurgeQueueInput{QueueUrl: url}))

	_, missing := client.GetQueueUrl(&sqs.GetQueueUrlInput{QueueName: aws.String("nowhere")})
	_, missingByURL := client.SendMessage(&sqs.SendMessageInput{
		QueueUrl:    aws.String(strings.Replace(*url, "refusing", "nowhere", 1)),
		MessageBody: aws.String("a"),
	})
	_, otherAttributes := client.CreateQueue(&sqs.CreateQueueInput{
		QueueName: aws.String("taken"), Attributes: aws.StringMap(map[string]string{"DelaySeconds": "2"}),
	})
	_, badHandle := client.DeleteMessage(&sqs.DeleteMessageInput{
		QueueUrl: url, ReceiptHandle: aws.String("no handle"),
	})
	_, badCharacters := client.SendMessage(&sqs.SendMessageInput{
		QueueUrl: url, MessageBody: aws.String("\uffff"),
	})
	_, secondPurge := client.PurgeQueue(&sqs.PurgeQueueInput{QueueUrl: url})
	_, unknownAttribute := client.SetQueueAttributes(&sqs.SetQueueAttributesInput{
		QueueUrl: url, Attributes: aws.StringMap(map[string]string{"Colour": "blue"}),
	})
	_, tooMany := client.ReceiveMessage(&sqs.ReceiveMessageInput{
		QueueUrl: url, MaxNumberOfMessages: aws.Int64(11),
	})
	return answer{
		"missing queue":        code(missing) == sqs.ErrCodeQueueDoesNotExist,
		"missing queue by URL": code(missingByURL) == sqs.ErrCodeQueueDoesNotExist,
		"other attributes":     code(otherAttributes) == sqs.ErrCodeQueueNameExists,
		"bad handle":           code(badHandle) == sqs.ErrCodeReceiptHandleIsInvalid,
		"bad characters":       code(badCharacters) == sqs.ErrCodeInvalidMessageContents,
		"second purge":         code(secondPurge) == sqs.ErrCodePurgeQueueInProgress,
		"unknown attribute":    code(unknownAttribute) == sqs.ErrCodeInvalidAttributeName,
		"too many":             code(tooMany),
	}
}
