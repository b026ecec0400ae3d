"""A deployment of which a team, and the administrator of one vault, know a part; one word is in all that is hidden."""

from tests.handlers.people import Person, guid
from tests.world import ALIAS

HIDDEN = "zebra"  # in every name that is not the team's
TEAM, OF_ONE_VAULT = Person(guid(30)), Person(guid(31))
CA = '"connector": "tests.world:TestCa"'
SETTINGS = {
    "CERTRELAY_APP_SERVICE_AUTHENTICATION": "true",
    "WEBSITE_AUTH_ENABLED": "True",
    "CERTRELAY_GRANTS": (
        f'[{{"principal": "{TEAM.id}", "role": "Operator", "vaults": ["{ALIAS}"], "certificates": ["*-ours"],'
        ' "authorities": ["test-ca"], "subjects": ["*.contoso.example"]},'
        f' {{"principal": "{OF_ONE_VAULT.id}", "role": "Administrator", "vaults": ["{ALIAS}"]}}]'
    ),
}
