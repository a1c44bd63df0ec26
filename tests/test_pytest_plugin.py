"""The pytest plugin in small projects, each run as its owner would run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

pytest_plugins = ("pytester",)

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "test-your-code.md"

README = Path(__file__).parent.parent / "README.md"

#: What would make the plugin slow to load: everything that Forebay needs and pytest does not.
HEAVY = {"aiohttp", "apsw", "botocore", "boto3", "httptools", "msgspec", "rich", "typer", "uvloop"}


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    # The plugin is named on the command line, whether or not it is installed as an entry point.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        addopts = ["--strict-markers", "--strict-config", "-p", "forebay.pytest_plugin"]
        filterwarnings = ["error"]
        """
    )
    return Project(pytester)


class Project:
    """A project of somebody who has Forebay installed."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester

    def write(self, name: str, source: str) -> None:
        self._pytester.path.joinpath(name).write_text(dedent(source))

    def run(self, *arguments: str) -> pytest.RunResult:
        return self._pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    script = "import forebay.pytest_plugin, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "forebay.pytest_plugin" in loaded
    assert loaded & HEAVY == set()
    assert not any(name.startswith("forebay.broker") for name in loaded)


def test_a_project_says_which_region_its_code_is_in(project: Project) -> None:
    project.write(
        "test_region.py",
        """
        import pytest

        def test_the_queue_is_where_the_code_looks(forebay, forebay_environment):
            url = forebay.create_queue("orders")
            assert forebay.arn(url) == "arn:aws:sqs:eu-west-1:000000000000:orders"
            assert forebay_environment["AWS_REGION"] == "eu-west-1"

        @pytest.mark.forebay(virtual_clock=True)
        def test_a_broker_of_its_own_is_there_too(forebay):
            assert ":eu-west-1:" in forebay.arn(forebay.create_queue("orders"))
        """,
    )
    project.run("-o", "forebay_region=eu-west-1").assert_outcomes(passed=2)


def test_a_project_that_does_not_use_it_never_imports_the_broker(project: Project) -> None:
    project.write(
        "test_something_else.py",
        """
        import sys

        def test_arithmetic():
            assert 2 + 2 == 4
            assert "forebay.pytest_plugin" in sys.modules
            assert "forebay.testing" not in sys.modules
        """,
    )
    project.run().assert_outcomes(passed=1)


def test_nothing_leaks_from_one_test_into_the_next(project: Project) -> None:
    project.write(
        "test_leaks.py",
        """
        import pytest

        @pytest.fixture(scope="module")
        def shared(forebay_broker):
            return forebay_broker.create_queue("shared")

        @pytest.mark.parametrize("number", range(3))
        def test_every_test_finds_its_queue_new(forebay, shared, number):
            orders = forebay.create_queue("orders.fifo", ContentBasedDeduplication=bool(number % 2))
            forebay.boto3_client().create_queue(QueueName="by-the-code-under-test")
            assert forebay.messages(orders) == []
            forebay.boto3_client().send_message(
                QueueUrl=orders, MessageBody="x", MessageGroupId="a", MessageDeduplicationId="1"
            )
            assert len(forebay.messages(orders)) == 1

        def test_the_queues_of_tests_are_gone_and_those_of_the_module_stay(forebay, shared):
            urls = forebay.boto3_client().list_queues()["QueueUrls"]
            assert urls == [shared]
        """,
    )
    project.run().assert_outcomes(passed=4)


def test_the_environment_leads_to_the_broker_and_back_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "secret")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDPRODUCTION")
    monkeypatch.delenv("AWS_ENDPOINT_URL_SQS", raising=False)
    project.write(
        "test_environment.py",
        """
        import os
        import boto3

        remembered = boto3.DEFAULT_SESSION = boto3.session.Session.__new__(boto3.session.Session)

        def test_inside(forebay, forebay_environment):
            sqs = boto3.client("sqs")
            assert sqs.meta.endpoint_url == forebay.endpoint_url
            assert sqs._get_credentials().access_key == "test"
            assert sqs._get_credentials().token is None
            assert "AWS_PROFILE" not in os.environ
            assert forebay_environment == forebay.environment
            assert forebay_environment.items() <= os.environ.items()
            assert sqs.create_queue(QueueName="orders")["QueueUrl"].endswith("/orders")
            sqs.close()

        def test_after_it():
            assert os.environ["AWS_PROFILE"] == "production"
            assert os.environ["AWS_ACCESS_KEY_ID"] == "AKIDPRODUCTION"
            assert "AWS_ENDPOINT_URL_SQS" not in os.environ
            assert boto3.DEFAULT_SESSION is remembered
        """,
    )
    project.run().assert_outcomes(passed=2)


def test_a_test_with_a_clock_has_a_broker_of_its_own(project: Project) -> None:
    project.write(
        "test_clocks.py",
        """
        import pytest

        def test_by_fixture(forebay, forebay_clock, forebay_broker):
            assert forebay_clock is forebay.clock
            assert forebay.endpoint_url != forebay_broker.endpoint_url

        @pytest.mark.forebay(virtual_clock=True)
        class TestByMarker:
            def test_of_the_class(self, forebay, forebay_broker):
                forebay.clock.advance(seconds=30)
                assert forebay.endpoint_url != forebay_broker.endpoint_url

            @pytest.mark.forebay(virtual_clock=False)
            def test_that_does_not_want_it(self, forebay, forebay_broker):
                assert forebay is forebay_broker

        def test_without(forebay, forebay_broker):
            assert forebay is forebay_broker
            with pytest.raises(Exception, match="Ask for the fixture forebay_clock"):
                forebay.clock
        """,
    )
    project.run().assert_outcomes(passed=4)


def test_a_marker_with_another_option_is_refused(project: Project) -> None:
    project.write(
        "test_marker.py",
        """
        import pytest

        @pytest.mark.forebay(clock=True)
        def test_misspelt(forebay):
            pass

        @pytest.mark.forebay("virtual_clock")
        def test_positional(forebay):
            pass
        """,
    )
    result = project.run()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*takes virtual_clock=True and nothing else*"])


def test_each_worker_of_xdist_has_its_own_broker(project: Project) -> None:
    project.write(
        "test_parallel.py",
        """
        import pytest

        @pytest.mark.parametrize("number", range(8))
        def test_a_name_can_be_used_everywhere_at_once(forebay, number):
            orders = forebay.create_queue("orders", DelaySeconds=number)
            forebay.boto3_client().send_message(QueueUrl=orders, MessageBody=f"{number}")
            assert [message.body for message in forebay.messages(orders)] == [f"{number}"]
        """,
    )
    project.run("-p", "xdist", "-n", "2").assert_outcomes(passed=8)


def test_a_failure_shows_the_test_and_nothing_of_the_broker(project: Project) -> None:
    project.write(
        "test_failures.py",
        """
        def test_that_waits_in_vain(forebay):
            orders = forebay.create_queue("orders")
            forebay.send(orders, "A-12")
            forebay.wait_for(orders, body="A-12", status="deleted", within_s=0.01).result()

        async def test_that_awaits_in_vain(forebay):
            await forebay.wait_for("orders", status="sent", within_s=0.01)

        def test_that_expects_none(forebay):
            orders = forebay.create_queue("orders")
            forebay.send(orders, "A-12")
            forebay.expect_none(orders, within_s=5).result()

        def test_refused_send(forebay):
            forebay.send("nowhere", "A-12")

        def test_refused_look(forebay):
            forebay.messages("nowhere")

        def test_refused_queue(forebay):
            forebay.create_queue("orders", dead_letter_queue="dead", max_receive_count=0)

        def test_without_clock(forebay):
            forebay.clock

        def test_back_in_time(forebay_clock):
            forebay_clock.advance(seconds=-1)
        """,
    )
    asyncio_plugin = ("-p", "asyncio", "-o", "asyncio_mode=auto")
    result = project.run(*asyncio_plugin, "-o", "asyncio_default_fixture_loop_scope=function")
    result.assert_outcomes(failed=8)
    result.stdout.fnmatch_lines(
        [
            "E *No message with body 'A-12' was deleted in orders within 0.01 s.",
            "E *Seen in orders:",
            "E *'A-12' (*): sent",
        ]
    )
    places = re.findall(r"^(\S+\.py):\d+: ", result.stdout.str(), re.MULTILINE)
    assert places == ["test_failures.py"] * 8


def test_a_wait_that_was_never_awaited_is_a_failure(project: Project) -> None:
    project.write(
        "test_waits.py",
        """
        def test_forgotten(forebay):
            forebay.wait_for("orders", body="A-12", status="deleted")

        def test_forgotten_on_its_own_clock(forebay, forebay_clock):
            forebay.expect_none("orders", within_s=5)

        def test_that_fails_before(forebay):
            waiting = forebay.wait_for("orders", status="deleted")
            assert 2 + 2 == 5

        def test_after_them(forebay):
            forebay.create_queue("orders")
        """,
    )
    result = project.run()
    result.assert_outcomes(passed=3, failed=1, errors=2)
    result.stdout.fnmatch_lines(
        ["Never awaited: that a message with body 'A-12' was deleted in orders. Write `await` in*"]
    )


def test_each_worker_of_xdist_waits_for_its_own_messages(project: Project) -> None:
    project.write(
        "test_parallel.py",
        """
        import threading
        import pytest

        @pytest.mark.parametrize("number", range(8))
        def test_a_body_can_be_used_everywhere_at_once(forebay, number):
            orders = forebay.create_queue("orders")
            forebay.expect_none(orders, within_s=0).result()
            waiting = forebay.wait_for(orders, body="A-12", status="sent")
            threading.Thread(target=forebay.send, args=(orders, "A-12")).start()
            assert waiting.result().receive_count == 0
        """,
    )
    project.run("-p", "xdist", "-n", "2").assert_outcomes(passed=8)


def test_the_fixtures_explain_themselves(project: Project) -> None:
    result = project.run("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.forebay(virtual_clock=False): give the test*"])
    result = project.run("--fixtures")
    result.stdout.fnmatch_lines(
        [
            "forebay_broker *session scope* -- *",
            "*An SQS broker in memory, for the whole session.*",
            "forebay_environment -- *",
        ]
    )


def test_the_examples_of_the_pages_pass(project: Project) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    first = re.findall(r"```python\n((?:(?!```).)*?def test_.*?)```", README.read_text(), re.DOTALL)
    project.write("test_page.py", "\n".join(examples))
    project.write("test_readme.py", "\n".join(first))
    tests = sum(example.count("def test_") for example in examples + first)
    asyncio_plugin = ("-p", "asyncio", "-o", "asyncio_mode=auto")
    result = project.run(*asyncio_plugin, "-o", "asyncio_default_fixture_loop_scope=function")
    result.assert_outcomes(passed=tests)
    assert tests >= 10
