"""Settings come from properties, ``-X`` arguments and the environment."""

from __future__ import annotations

import dataclasses
import getpass
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pysys.utils.misc import getTypedValueOrDefault

from pysys_orch.errors import ConfigError
from pysys_orch.settings import (
    DockerSettings,
    client_environment,
    docker_settings,
    inherited_environment,
)


def converted(key: str, value: str | None, default: Any) -> Any:  # noqa: ANN401 -- PySys
    return getTypedValueOrDefault(key, value, default)  # type: ignore[no-untyped-call] # PySys


class Project:
    """A PySys project with these properties, converted as PySys converts them."""

    def __init__(self, properties: Mapping[str, str], root: str | None = None) -> None:
        self._properties = properties
        self.testRootDir = root

    def getProperty(self, key: str, default: Any) -> Any:  # noqa: ANN401, N802 -- PySys
        return converted(key, self._properties.get(key), default)


class Runner:
    """A PySys runner with these ``-X`` arguments, converted as PySys converts them."""

    def __init__(self, arguments: Mapping[str, str]) -> None:
        self._arguments = arguments

    def getXArg(self, key: str, default: Any) -> Any:  # noqa: ANN401, N802 -- PySys
        return converted(key, self._arguments.get(key), default)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Return the way to an environment that has a PATH without docker, and no more."""
    for key in os.environ:
        monkeypatch.delenv(key)
    monkeypatch.setenv("PATH", str(tmp_path))
    return monkeypatch


def install(folder: Path, name: str) -> str:
    """Make a program in *folder*, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(program)


@pytest.mark.usefixtures("environment")
def test_without_a_project_the_defaults_hold() -> None:
    """Nobody has to configure anything; the manual states these values."""
    settings = docker_settings()
    assert settings.answer_timeout == 5
    assert settings.lease == 300
    assert settings.retention_days == 7
    assert settings.keep is False
    assert settings.nodes == ()
    assert settings.exe == "docker"


@pytest.mark.usefixtures("environment")
def test_a_project_sets_each_of_them() -> None:
    """The names are a promise to everybody's ``pysysproject.xml``."""
    settings = docker_settings(
        Project(
            {
                "DOCKER_EXE": "podman",
                "dockerAnswerTimeoutSecs": "2.5",
                "dockerLeaseSecs": "60",
                "dockerImageRetentionDays": "0",
                "dockerKeep": "true",
                "dockerPublishedHost": "10.0.0.7",
                "dockerNodes": "tcp://b:2375, tcp://c:2375",
            }
        )
    )
    assert settings.published_host == "10.0.0.7"
    assert settings.exe == "podman"
    assert settings.answer_timeout == 2.5
    assert settings.lease == 60
    assert settings.retention_days == 0
    assert settings.keep is True
    assert settings.nodes == ("tcp://b:2375", "tcp://c:2375")


def test_an_argument_of_the_run_counts_more_than_the_project() -> None:
    """``-XdockerKeep=true`` keeps things for this one run."""
    project = Project({"dockerKeep": "false", "dockerLeaseSecs": "60"})
    settings = docker_settings(project, Runner({"dockerKeep": "true"}))
    assert settings.keep is True
    assert settings.lease == 60


def test_where_ports_are_reached_is_a_matter_of_the_machine_first(
    environment: pytest.MonkeyPatch,
) -> None:
    """A project that many machines check out cannot know it; a person knows best."""
    project = Project({"dockerPublishedHost": "project"})
    environment.setenv("PYSYS_ORCH_PUBLISHED_HOST", "machine")
    assert docker_settings(project).published_host == "machine"
    told = Runner({"dockerPublishedHost": "person"})
    assert docker_settings(project, told).published_host == "person"


SECONDS = "must be more than 0 and at most 1000000000, got"
DAYS = "must be from 0 to 1000000, got"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("dockerLeaseSecs", "0", f"{SECONDS} 0"),
        ("dockerLeaseSecs", "inf", f"{SECONDS} inf"),
        ("dockerAnswerTimeoutSecs", "-1", f"{SECONDS} -1"),
        ("dockerAnswerTimeoutSecs", "nan", f"{SECONDS} nan"),
        ("dockerImageRetentionDays", "-0.5", f"{DAYS} -0.5"),
        ("dockerImageRetentionDays", "nan", f"{DAYS} nan"),
        (
            "dockerImageRetentionDays",
            "a week",
            "cannot be read: could not convert string to float: 'a week'",
        ),
        (
            "dockerPublishedHost",
            "tcp://host:1",
            "is a host's name or address, without scheme and port, got 'tcp://host:1'",
        ),
        (
            "dockerKeep",
            "maybe",
            "cannot be read: Unexpected value for boolean value dockerKeep=maybe",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(
    name: str, value: str, words: str
) -> None:
    """The line says which property, what it may be and what it is."""
    for sources in ((Project({name: value}),), (None, Runner({name: value}))):
        with pytest.raises(ConfigError) as refusal:
            docker_settings(*sources)
        assert str(refusal.value) == f"{name} {words}"


@pytest.mark.usefixtures("environment")
def test_an_argument_without_its_value_is_refused() -> None:
    """PySys says True of ``-XdockerNodes``."""

    class Bare:
        def getXArg(self, key: str, default: Any) -> Any:  # noqa: ANN401, N802 -- PySys
            return True if key == "dockerNodes" else default

    with pytest.raises(ConfigError, match="dockerNodes needs a value"):
        docker_settings(None, Bare())


def test_the_client_is_found_on_the_path(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PySys starts programs by their full path."""
    program = install(tmp_path / "bin", "docker")
    environment.setenv("PATH", f"/nonexistent{os.pathsep}{tmp_path / 'bin'}")
    assert docker_settings().exe == program


@pytest.mark.usefixtures("environment")
def test_a_client_that_is_given_by_its_path_is_used_as_it_is(tmp_path: Path) -> None:
    """A project may bring its own client, or one that is installed later."""
    program = install(tmp_path / "own", "docker-20")
    assert docker_settings(Project({"DOCKER_EXE": program})).exe == program
    missing = str(tmp_path / "nothing")
    assert docker_settings(Project({"DOCKER_EXE": missing})).exe == missing


def test_the_client_gets_what_it_needs_and_nothing_else(
    environment: pytest.MonkeyPatch,
) -> None:
    """Registries, contexts, proxies and ssh work; the rest of the shell stays out."""
    needed = {
        "PATH": "/bin",
        "HOME": "/home/me",
        "DOCKER_HOST": "tcp://engine:2375",
        "DOCKER_CONFIG": "/home/me/.docker",
        "COMPOSE_PROJECT_NAME": "p",
        "BUILDX_BUILDER": "b",
        "BUILDKIT_PROGRESS": "plain",
        "SSH_AUTH_SOCK": "/run/agent",
        "XDG_RUNTIME_DIR": "/run/user/1000",
        "HTTPS_PROXY": "http://proxy",
        "http_proxy": "http://proxy",
        "no_proxy": "localhost",
    }
    others = {
        "AWS_SECRET_ACCESS_KEY": "secret",
        "LD_PRELOAD": "x.so",
        "MY_DOCKER_HOST": "x",
        "PYTHONPATH": "/x",
    }
    for key, value in {**needed, **others}.items():
        environment.setenv(key, value)
    assert client_environment() == needed
    assert docker_settings().environment == needed
    assert inherited_environment().items() >= {**needed, **others}.items()


def test_the_environment_is_read_once_and_does_not_change(
    environment: pytest.MonkeyPatch,
) -> None:
    """A test that sets a variable does not move the others to another engine."""
    environment.setenv("DOCKER_HOST", "tcp://one:2375")
    settings = docker_settings()
    environment.setenv("DOCKER_HOST", "tcp://other:2375")
    assert settings.environment["DOCKER_HOST"] == "tcp://one:2375"
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.keep = True  # type: ignore[misc] # that is the point


def test_a_password_in_the_environment_is_not_shown(
    environment: pytest.MonkeyPatch,
) -> None:
    """Settings may be logged."""
    environment.setenv("HTTPS_PROXY", "http://me:secret@proxy")
    settings = docker_settings()
    assert "secret" in settings.environment["HTTPS_PROXY"]
    settings = dataclasses.replace(settings, nodes=("tcp://me:secret@node2:2375",))
    assert "secret" not in repr(settings)


def test_people_are_told_who_made_something(tmp_path: Path) -> None:
    """Whose containers these are can be asked of a colleague."""
    assert docker_settings(Project({}, str(tmp_path))).facts == {
        "host": socket.gethostname(),
        "user": getpass.getuser(),
        "directory": str(tmp_path),
    }
    assert docker_settings().facts["directory"] == str(Path.cwd())


def test_a_user_without_a_name_goes_by_the_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """CI containers run as ids that no password file knows."""

    def unknown() -> str:
        message = "getpwuid(): uid not found: 12345"
        raise KeyError(message)

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert docker_settings().facts["user"] == str(os.getuid())


def test_every_setting_has_a_property() -> None:
    """What can be set at all can be set by a project."""

    class Recorder(Project):
        def __init__(self) -> None:
            super().__init__({})
            self.asked: list[str] = []

        def getProperty(self, key: str, default: Any) -> Any:  # noqa: ANN401, N802 -- PySys
            self.asked.append(key)
            return default

    recorder = Recorder()
    docker_settings(recorder)
    names = {field.name for field in dataclasses.fields(DockerSettings)}
    assert len(recorder.asked) == len(names - {"environment", "facts"})
