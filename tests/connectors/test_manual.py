"""`manual`: nobody is asked; the order waits for an operator."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from certrelay.connectors.base import Feature, Pending
from certrelay.connectors.manual.connector import Manual
from certrelay.connectors.manual.settings import ManualSettings
from certrelay.pki.subject import SubjectNames
from tests.connectors.conformance import ABILITIES, context
from tests.connectors.signing_requests import signing_request

REQUEST = replace(signing_request(SubjectNames("a.example.com", ("a.example.com",))), operation_id="operation-1")


def manual(remind_every: float = 3600.0) -> Manual:
    return Manual(ManualSettings(remind_every=remind_every), context("the offline root"))


def test_it_declares_every_feature_and_no_ability() -> None:
    assert manual().features == set(Feature)
    assert not [ability for ability in ABILITIES if isinstance(manual(), ability)]


def test_an_order_is_pending_until_somebody_posts_the_answer_elsewhere() -> None:
    pending = manual(7200).submit(REQUEST)
    assert isinstance(pending, Pending)
    assert (pending.reference, pending.retry_after) == ("operation-1", 7200)
    assert manual(7200).collect(REQUEST, pending.reference) == pending


def test_the_same_order_has_the_same_reference_after_a_restart() -> None:
    assert manual().submit(REQUEST) == manual().submit(REQUEST)


def test_every_look_says_what_people_have_to_do() -> None:
    for outcome in (manual().submit(REQUEST), manual().collect(REQUEST, "operation-1")):
        assert isinstance(outcome, Pending)
        assert outcome.awaits == "have its CSR signed by the offline root, and post the certificate"


def test_reminders_cannot_flood_people_nor_come_later_than_the_queue_can_wait() -> None:
    for seconds in (1, 604_801, float("inf")):
        with pytest.raises(ValidationError, match="remind_every"):
            ManualSettings(remind_every=seconds)
    with pytest.raises(ValidationError, match="url"):
        ManualSettings.model_validate({"url": "https://ca.example.com"})
