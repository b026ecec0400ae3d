import pytest

pytest.register_assert_rewrite("tests.connectors.conformance", "tests.connectors.hostile")
