package main

import (
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Lists in pages, tags, permissions and attributes.
func administering() answer {
	var created, listed []string
	for number := range 5 {
		created = append(created, *newQueue(fmt.Sprintf("listed-%d", number), nil))
	}
	pages := sqs.NewListQueuesPaginator(client, &sqs.ListQueuesInput{
		QueueNamePrefix: aws.String("listed-"), MaxResults: aws.Int32(2),
	})
	pageCount := 0
	for pages.HasMorePages() {
		listed = append(listed, must(pages.NextPage(background)).QueueUrls...)
		pageCount++
	}

	tagged := must(client.CreateQueue(background, &sqs.CreateQueueInput{
		QueueName: aws.String("tagged"), Tags: map[string]string{"team": "shop", "stage": "test"},
	})).QueueUrl
	must(client.TagQueue(background, &sqs.TagQueueInput{
		QueueUrl: tagged, Tags: map[string]string{"cost centre": "12 + 13", "empty": ""},
	}))
	must(client.UntagQueue(background, &sqs.UntagQueueInput{
		QueueUrl: tagged, TagKeys: []string{"stage", "unknown"},
	}))
	tags := must(client.ListQueueTags(background, &sqs.ListQueueTagsInput{QueueUrl: tagged})).Tags

	must(client.AddPermission(background, &sqs.AddPermissionInput{
		QueueUrl: tagged, Label: aws.String("partners"),
		AWSAccountIds: []string{"111111111111"}, Actions: []string{"SendMessage"},
	}))
	var policy struct {
		Statement []struct{ Sid, Action string }
	}
	document := attributesOf(tagged, types.QueueAttributeNamePolicy)["Policy"]
	if err := json.Unmarshal([]byte(document), &policy); err != nil {
		panic(err)
	}
	must(client.RemovePermission(background, &sqs.RemovePermissionInput{
		QueueUrl: tagged, Label: aws.String("partners"),
	}))

	must(client.SetQueueAttributes(background, &sqs.SetQueueAttributesInput{
		QueueUrl: tagged, Attributes: map[string]string{"VisibilityTimeout": "77"},
	}))
	changed := attributesOf(tagged, "VisibilityTimeout", "DelaySeconds")
	return answer{
		"listed":           fmt.Sprint(sorted(listed)) == fmt.Sprint(created),
		"pages":            pageCount,
		"tags":             tags,
		"permission":       []string{policy.Statement[0].Sid, policy.Statement[0].Action},
		"policy when gone": attributesOf(tagged, types.QueueAttributeNamePolicy)["Policy"],
		"changed":          changed,
	}
}
