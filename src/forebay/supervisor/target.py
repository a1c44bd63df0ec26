"""Finding what a command line names as `module:object`, such as a worker."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

from forebay.errors import ForebayError, SettingsError

if TYPE_CHECKING:
    from forebay.app import App
    from forebay.worker.worker import Worker

#: What a worker and an app are known by. Not by their classes: the module may bring fakes.
_WORKER_HAS = ("run", "stop", "snapshot")
_APP_HAS = "worker"


class TargetError(SettingsError):
    """What was named is no worker."""


def find(target: str, directory: Path) -> object:
    """The object that `module:object` names; modules are looked for in `directory` first.

    Raises TargetError, in one line.
    """
    module_name, _, attribute = target.partition(":")
    if not module_name or not attribute:
        stem = module_name.removesuffix(".py").replace("/", ".") or "shop"
        raise TargetError(
            f"{target!r} names no object. Say module:object, for example {stem}:worker."
        )
    if "/" in module_name or module_name.endswith(".py"):
        stem = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise TargetError(
            f"{module_name} is a file. Name its module as Python imports it: {stem}:{attribute}."
        )
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    found: object = _import(module_name, directory)
    for name in attribute.split("."):
        found = _attribute(found, name, module_name)
    return found


@asynccontextmanager
async def opened(target: str, directory: Path) -> AsyncIterator[Worker]:
    """The worker that `module:object` means, for as long as the block lasts.

    The object is a Worker, an App, or a function without arguments that gives one of them: a plain
    or an async one, or an async context manager, which is left when the worker has stopped. Then
    the worker's client is closed, too. Raises TargetError, in one line.
    """
    found = find(target, directory)
    async with AsyncExitStack() as stack:
        if not _is_worker(found) and not _is_app(found):
            found = await _made(found, target)
        if isinstance(found, AbstractAsyncContextManager) and not _is_worker(found):
            manager = cast("AbstractAsyncContextManager[object]", found)
            # An App is one too. Its client is closed behind the manager, which may need it.
            clients = await stack.enter_async_context(AsyncExitStack())
            found = await stack.enter_async_context(manager)
        else:
            clients = stack
        worker = _worker(found, target)
        clients.push_async_callback(worker.client.close)
        yield worker


def _import(name: str, directory: Path) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise _broken(f"{name} cannot be imported", error) from error
        raise TargetError(
            f"There is no module {error.name} in {directory} or where Python looks for modules."
            f"{_near(error.name, _modules(directory))}"
        ) from error
    except SystemExit as error:
        raise TargetError(
            f"{name} ended the program while it was imported. Put what runs it behind"
            ' `if __name__ == "__main__":`.'
        ) from error
    except Exception as error:
        raise _broken(f"{name} cannot be imported", error) from error


def _modules(directory: Path) -> list[str]:
    return [module.name for module in pkgutil.iter_modules([str(directory)])]


def _attribute(owner: object, name: str, module_name: str) -> object:
    try:
        return getattr(owner, name)
    except AttributeError as error:
        names = [each for each in dir(owner) if not each.startswith("_")]
        raise TargetError(f"{module_name} has no {name}.{_near(name, names)}") from error


def _near(name: str, names: list[str]) -> str:
    near = get_close_matches(name, names, n=1)
    return f" Did you mean {near[0]}?" if near else ""


async def _made(factory: object, target: str) -> object:
    """What a function without arguments gives."""
    if not callable(factory):
        raise _wrong_kind(factory, target)
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        raise TargetError(
            f"{target} needs arguments. Name a Worker, an App, or a function without arguments that"
            " gives one."
        ) from error
    except ValueError:
        pass
    try:
        made = cast("Callable[[], object]", factory)()
        if inspect.isawaitable(made):
            made = await cast("Awaitable[object]", made)
    except ForebayError as error:
        raise TargetError(f"{target}: {error}") from error
    except Exception as error:
        raise _broken(f"{target} gives no worker", error) from error
    return made


def _worker(found: object, target: str) -> Worker:
    if _is_worker(found):
        return cast("Worker", found)
    if _is_app(found):
        try:
            return cast("App", found).worker()
        except ForebayError as error:
            raise TargetError(f"{target}: {error}") from error
    raise _wrong_kind(found, target)


def _is_worker(found: object) -> bool:
    return not isinstance(found, type) and all(hasattr(found, name) for name in _WORKER_HAS)


def _is_app(found: object) -> bool:
    return not isinstance(found, type | ModuleType) and callable(getattr(found, _APP_HAS, None))


def _wrong_kind(found: object, target: str) -> TargetError:
    kind = "None" if found is None else f"of type {type(found).__name__}"
    advice = (
        ' A Router needs a worker: Worker(client, "orders", router).'
        if type(found).__name__ == "Router"
        else ""
    )
    return TargetError(
        f"{target} is {kind}, and not a Worker, an App, or a function that gives one.{advice}"
    )


def _broken(what: str, error: BaseException) -> TargetError:
    """An error of the user's own code: the last line of its traceback, and where."""
    said = " ".join(traceback.format_exception_only(error)[-1].split())
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename and frame.filename != __file__
    ]
    if isinstance(error, SyntaxError) and error.filename:
        place = f" ({error.filename}, line {error.lineno})"
    else:
        place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return TargetError(f"{what}: {said}{place}")
