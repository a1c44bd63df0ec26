// Package go_cdk locks the Go CDK, whose own tests of its SQS driver are what runs here.
package go_cdk

import _ "gocloud.dev/pubsub/awssnssqs"
