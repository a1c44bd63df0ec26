package main

import (
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
)

// What the SDK makes of a refusal: whether it is of its own type, and the code of the Query protocol.
func refusal[T error](err error) []any {
	var typed T
	var coded smithy.APIError
	if !errors.As(err, &coded) {
		return []any{false, err.Error()}
	}
	return []any{errors.As(err, &typed), coded.ErrorCode(), coded.ErrorFault().String()}
}

func refusals() answer {
	url := newQueue("refusing", nil)
	nowhere := aws.String(strings.Replace(*url, "refusing", "nowhere", 1))
	newQueue("taken", map[string]string{"DelaySeconds": "1"})
	gone := newQueue("gone", nil)
	must(client.DeleteQueue(background, &sqs.DeleteQueueInput{QueueUrl: gone}))
	must(client.PurgeQueue(background, &sqs.PurgeQueueInput{QueueUrl: url}))

	_, missing := client.GetQueueUrl(background, &sqs.GetQueueUrlInput{QueueName: aws.String("nowhere")})
	_, missingByURL := client.SendMessage(background, &sqs.SendMessageInput{
		QueueUrl: nowhere, MessageBody: aws.String("a"),
	})
	_, otherAttributes := client.CreateQueue(background, &sqs.CreateQueueInput{
		QueueName: aws.String("taken"), Attributes: map[string]string{"DelaySeconds": "2"},
	})
	_, tooSoon := client.CreateQueue(background, &sqs.CreateQueueInput{QueueName: aws.String("gone")})
	_, badHandle := client.DeleteMessage(background, &sqs.DeleteMessageInput{
		QueueUrl: url, ReceiptHandle: aws.String("no handle"),
	})
	_, badCharacters := client.SendMessage(background, &sqs.SendMessageInput{
		QueueUrl: url, MessageBody: aws.String("\uffff"),
	})
	_, emptyBatch := client.SendMessageBatch(background, &sqs.SendMessageBatchInput{
		QueueUrl: url, Entries: []types.SendMessageBatchRequestEntry{},
	})
	entry := types.SendMessageBatchRequestEntry{Id: aws.String("same"), MessageBody: aws.String("a")}
	_, sameIds := client.SendMessageBatch(background, &sqs.SendMessageBatchInput{
		QueueUrl: url, Entries: []types.SendMessageBatchRequestEntry{entry, entry},
	})
	_, secondPurge := client.PurgeQueue(background, &sqs.PurgeQueueInput{QueueUrl: url})
	_, unknownAttribute := client.SetQueueAttributes(background, &sqs.SetQueueAttributesInput{
		QueueUrl: url, Attributes: map[string]string{"Colour": "blue"},
	})
	_, tooMany := client.ReceiveMessage(background, &sqs.ReceiveMessageInput{
		QueueUrl: url, MaxNumberOfMessages: 11,
	})
	_, notInFlight := client.ChangeMessageVisibility(background, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: url, ReceiptHandle: removedHandle(url), VisibilityTimeout: 1,
	})
	_, noTask := client.CancelMessageMoveTask(background, &sqs.CancelMessageMoveTaskInput{
		TaskHandle: aws.String("no handle"),
	})
	return answer{
		"missing queue":        refusal[*types.QueueDoesNotExist](missing),
		"missing queue by URL": refusal[*types.QueueDoesNotExist](missingByURL),
		"other attributes":     refusal[*types.QueueNameExists](otherAttributes),
		"too soon":             refusal[*types.QueueDeletedRecently](tooSoon),
		"bad handle":           refusal[*types.ReceiptHandleIsInvalid](badHandle),
		"bad characters":       refusal[*types.InvalidMessageContents](badCharacters),
		"empty batch":          refusal[*types.EmptyBatchRequest](emptyBatch),
		"same ids":             refusal[*types.BatchEntryIdsNotDistinct](sameIds),
		"second purge":         refusal[*types.PurgeQueueInProgress](secondPurge),
		"unknown attribute":    refusal[*types.InvalidAttributeName](unknownAttribute),
		"too many":             refusal[*smithy.GenericAPIError](tooMany),
		"not in flight":        refusal[*smithy.GenericAPIError](notInFlight),
		"no task":              refusal[*smithy.GenericAPIError](noTask),
	}
}

func removedHandle(url *string) *string {
	send(url, "removed")
	message := receive(url)[0]
	remove(url, message)
	return message.ReceiptHandle
}
