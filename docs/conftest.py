"""Runs the documentation: Python examples as written, and every shell line that starts with `$ speedlight`."""

import shlex

from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from speedlight.cli.main import main


def run_commands(example: Example) -> None:
    """Each line must end with exit code 0 (1 where the line says so in a comment: `# exits 1`)."""
    for line in example.parsed.splitlines():
        if line.startswith("$ speedlight "):
            command, _, comment = line.removeprefix("$ speedlight ").partition("#")
            expected = 1 if "exits 1" in comment else 0
            code = main(shlex.split(command))
            assert code == expected, f"{line}: exit code {code}"


def in_a_scratch_folder(namespace: dict) -> None:  # type: ignore[type-arg]
    import os
    import tempfile

    namespace["_home"] = os.getcwd()
    namespace["_scratch"] = tempfile.TemporaryDirectory()
    os.symlink(os.path.join(namespace["_home"], "examples"), os.path.join(namespace["_scratch"].name, "examples"))
    os.chdir(namespace["_scratch"].name)


def and_back(namespace: dict) -> None:  # type: ignore[type-arg]
    import os

    os.chdir(namespace["_home"])
    namespace["_scratch"].cleanup()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), CodeBlockParser(language="console", evaluator=run_commands)],
    patterns=["*.md"],
    setup=in_a_scratch_folder,
    teardown=and_back,
).pytest()
