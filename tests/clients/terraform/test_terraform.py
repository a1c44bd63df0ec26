"""Terraform takes the broker for Amazon SQS: it creates, keeps, changes, imports and destroys."""

from __future__ import annotations

import json

import pytest

from tests.clients.terraform.story import Missing, Story


@pytest.fixture
def story(terraform_story: Story | Missing) -> Story:
    if isinstance(terraform_story, Missing):
        pytest.skip(f"Terraform and its AWS provider are not both here: {terraform_story.reason}")
    return terraform_story


def test_apply_creates_queues_with_policies_and_tags(story: Story) -> None:
    outcome = story.outcome("apply")
    assert "Apply complete! Resources: 5 added, 0 changed, 0 destroyed." in outcome.output
    jobs, dead, orders = (outcome.queues[name] for name in ("jobs", "jobs-dead", "orders.fifo"))
    assert jobs.attributes["VisibilityTimeout"] == "60"
    assert jobs.attributes["ReceiveMessageWaitTimeSeconds"] == "20"
    assert json.loads(jobs.attributes["RedrivePolicy"]) == {
        "deadLetterTargetArn": "arn:aws:sqs:eu-west-1:000000000000:jobs-dead",
        "maxReceiveCount": 3,
    }
    assert json.loads(jobs.attributes["Policy"])["Statement"][0]["Sid"] == "partners"
    assert jobs.tags == {"team": "shop", "cost:centre": ""}
    assert json.loads(dead.attributes["RedriveAllowPolicy"]) == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": ["arn:aws:sqs:eu-west-1:000000000000:jobs"],
    }
    assert orders.attributes["FifoThroughputLimit"] == "perMessageGroupId"
    assert orders.attributes["KmsMasterKeyId"] == "alias/aws/sqs"
    assert "aws:SecureTransport" in orders.attributes["Policy"]


def test_a_second_plan_has_no_changes(story: Story) -> None:
    assert "No changes." in story.outcome("second plan").output


def test_an_update_changes_what_differs_and_takes_policies_away(story: Story) -> None:
    outcome = story.outcome("update")
    assert "0 added, 1 changed, 2 destroyed." in outcome.output
    jobs = outcome.queues["jobs"]
    assert jobs.attributes["VisibilityTimeout"] == "90"
    assert json.loads(jobs.attributes["RedrivePolicy"])["maxReceiveCount"] == 5
    assert jobs.tags == {"team": "till", "stage": "test"}
    assert "RedriveAllowPolicy" not in outcome.queues["jobs-dead"].attributes
    assert "Policy" not in outcome.queues["orders.fifo"].attributes


def test_an_imported_queue_is_as_it_was_declared(story: Story) -> None:
    output = story.outcome("update").output
    assert "Resources: 1 imported," in output
    # The one resource that changed in the same command is another.
    assert "aws_sqs_queue.jobs: Modifying..." in output


def test_destroy_leaves_nothing(story: Story) -> None:
    outcome = story.outcome("destroy")
    assert "Destroy complete! Resources: 3 destroyed." in outcome.output
    assert outcome.queues == {}
