"""The section of CHANGELOG.md for a release: `python3 tools/release_notes.py v1.2.3`. Standard library only.

Fails unless the tag is the version in pyproject.toml and has a section of its own."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str]) -> int:
    """Print the notes of the tag in `arguments`. Returns the exit code."""
    try:
        [tag] = arguments
        project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        print(notes(tag, project, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")))
    except ValueError as error:
        print(f"release notes: {error}", file=sys.stderr)
        return 1
    return 0


def notes(tag: str, project: str, changelog: str) -> str:
    """The text below `## VERSION` in `changelog`. Raises ValueError, saying what does not fit."""
    version = tag.removeprefix("v")
    written = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    if written is None or written[1] != version:
        raise ValueError(f"the tag is {tag}, but pyproject.toml says version {written[1] if written else 'nothing'}")
    sections = re.split(r"^## ", changelog, flags=re.MULTILINE)[1:]
    for section in sections:
        heading, _, text = section.partition("\n")
        if re.match(rf"\[?{re.escape(version)}\]?(?![\w.])", heading) and text.strip():
            return text.strip()
    raise ValueError(f"CHANGELOG.md has no section '## {version}': rename 'Unreleased', with the date")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
