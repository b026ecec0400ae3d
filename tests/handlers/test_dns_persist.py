"""The route that tells standing records (dns-persist-01)."""

from datetime import UTC, datetime

import azure.functions as func
import pytest

from certrelay import authorities
from certrelay.connectors.base import StandingRecord
from certrelay.errors import Invalid
from handlers import response_models, service

END = datetime(2028, 1, 1, tzinfo=UTC)
RECORD = StandingRecord("_validation-persist.a.example", "ca.example; x", ("ca.example; ", "x"), "-02", None, END, "")


def asked(**params: str) -> func.HttpRequest:
    return func.HttpRequest("GET", "http://x/", params=params, route_params={"authority": "le"}, body=b"")


def test_the_answer_has_the_record_and_what_is_there_now(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, str, str | None]] = []

    def standing_record(_: object, authority: str, name: str, until: str | None) -> StandingRecord:
        given.append((authority, name, until))
        return RECORD

    monkeypatch.setattr(service, "acting_for", lambda req: None)
    monkeypatch.setattr(authorities, "standing_record", standing_record)
    answer = service.get_dns_persist(asked(name="*.a.example", until="2028-01-01T00:00:00Z"))
    assert given == [("le", "*.a.example", "2028-01-01T00:00:00Z")]
    found = response_models.DnsPersist.model_validate(answer.body, strict=True)
    [record] = found.records
    assert (record.name, record.value, record.strings) == (RECORD.name, RECORD.value, ["ca.example; ", "x"])
    assert (found.published, found.offered, found.until) == (True, None, "2028-01-01T00:00:00+00:00")


def test_a_request_without_a_name_is_told_so() -> None:
    with pytest.raises(Invalid, match="the query parameter name is missing"):
        service.get_dns_persist(asked())
