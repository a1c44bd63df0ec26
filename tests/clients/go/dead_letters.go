package main

import (
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// What fails twice goes to the dead-letter queue, and a task moves it back.
func deadLetters() answer {
	dead := newQueue("jobs-dead", nil)
	url := newQueue("jobs", map[string]string{
		"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"2"}`, arn(dead)),
	})
	send(url, "fails")
	for range 2 {
		release(url, receive(url)[0])
	}
	third := receive(url)
	found := receive(dead)[0]
	release(dead, found)

	var sources []string
	pages := sqs.NewListDeadLetterSourceQueuesPaginator(client, &sqs.ListDeadLetterSourceQueuesInput{
		QueueUrl: dead, MaxResults: aws.Int32(1),
	})
	for pages.HasMorePages() {
		sources = append(sources, must(pages.NextPage(background)).QueueUrls...)
	}

	source := arn(dead)
	must(client.StartMessageMoveTask(background, &sqs.StartMessageMoveTaskInput{SourceArn: &source}))
	var status string
	await(func() bool {
		tasks := must(client.ListMessageMoveTasks(background, &sqs.ListMessageMoveTasksInput{
			SourceArn: &source,
		}))
		status = *tasks.Results[0].Status
		return status != "RUNNING"
	})
	return answer{
		"third receive":  len(third),
		"dead":           *found.Body,
		"came from":      found.Attributes["DeadLetterQueueSourceArn"] == arn(url),
		"sources":        len(sources) == 1 && sources[0] == *url,
		"status":         status,
		"received again": bodies(receive(url)),
	}
}
