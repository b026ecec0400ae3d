"""The notes of a release: the changelog's section of that version, and no other."""

import pytest

from tools.release_notes import main, notes

PROJECT = '[project]\nname = "certrelay"\nversion = "1.2.0"\n'
CHANGELOG = (
    "# Changelog\n\n## Unreleased\n\n- later\n\n## 1.2.0 (2027-01-31)\n\n### Added\n\n- this\n\n## 1.1.0\n\n- before\n"
)


def test_the_notes_are_the_section_of_the_version() -> None:
    assert notes("v1.2.0", PROJECT, CHANGELOG) == "### Added\n\n- this"


@pytest.mark.parametrize(
    ("tag", "changelog", "says"),
    [
        ("v1.2.1", CHANGELOG, "pyproject.toml says version 1.2.0"),
        ("v1.2.0", "# Changelog\n\n## Unreleased\n\n- this\n", "no section '## 1.2.0'"),
        ("v1.2.0", "# Changelog\n\n## 1.2.0\n\n## 1.1.0\n\n- before\n", "no section '## 1.2.0'"),
        ("v1.2.0", "# Changelog\n\n## 1.2.0.dev1\n\n- before\n", "no section '## 1.2.0'"),
    ],
)
def test_what_does_not_fit_is_named(tag: str, changelog: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        notes(tag, PROJECT, changelog)


def test_a_wrong_tag_stops_the_release(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["v0.0.0"]) == 1
    assert "the tag is v0.0.0" in capsys.readouterr().err
