"""Log lines carry what they are about as fields, and in their text."""

import logging
import threading

import pytest

from certrelay.log import about, logger
from sandbox.azurite import ACCOUNT_KEY
from tests.world import World, create


def test_what_a_line_is_about_stands_in_its_record_and_at_its_end(caplog: pytest.LogCaptureFixture) -> None:
    log = logger("test")
    with about(operation="o-1", vault="main", authority=None), about(certificate="www"):
        log.warning("the order %s waits (100 %%)", "7")
    log.warning("over")
    first, second = caplog.records
    assert first.getMessage() == "the order 7 waits (100 %) [operation=o-1 vault=main certificate=www]"
    assert (vars(first)["operation"], vars(first)["certificate"]) == ("o-1", "www")
    assert "authority" not in vars(first)
    assert (second.getMessage(), second.name) == ("over", "certrelay.test")


def test_an_exception_keeps_its_traceback_and_percent_signs_do_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    with about(certificate="100%d"):
        try:
            raise ValueError("bad")
        except ValueError:
            logger("test").exception("crashed")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.getMessage() == "crashed [certificate=100%d]"


def test_one_thread_does_not_see_the_fields_of_another(caplog: pytest.LogCaptureFixture) -> None:
    with about(operation="mine"):
        other = threading.Thread(target=lambda: logger("test").warning("theirs"))
        other.start()
        other.join()
    assert caplog.messages == ["theirs"]


def test_the_lines_of_the_azure_sdks_have_no_secret_at_whatever_level(
    lonely_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The app writes none of them, and elsewhere the tests do not either; tests/canaries.py reads these, too."""
    caplog.set_level(logging.DEBUG, "azure")
    create(lonely_world, lonely_world.name())
    lonely_world.finish(lonely_world.name())
    lines = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("azure."))
    prefix, vault = lonely_world.prefix, lonely_world.server.url
    for asked in (f"{prefix}operations", f"{prefix}signing", vault, "ManagedIdentityCredential"):
        assert asked in lines
    for secret in (ACCOUNT_KEY, lonely_world.server.identity_header, "SharedKey"):
        assert secret not in lines
