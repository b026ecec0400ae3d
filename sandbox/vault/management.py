"""A stub of Azure Resource Manager: the list of subscriptions, which `az login --identity` reads.

https://learn.microsoft.com/rest/api/resources/subscriptions/list
"""

from sandbox.identity import TENANT
from sandbox.vault.call import Answer
from sandbox.vault.events import SUBSCRIPTION

PATH = ["subscriptions"]


def subscriptions() -> Answer:
    """The one subscription of the sandbox, to which its vault belongs."""
    subscription = {
        "id": f"/subscriptions/{SUBSCRIPTION}",
        "subscriptionId": SUBSCRIPTION,
        "tenantId": TENANT,
        "displayName": "CertRelay sandbox",
        "state": "Enabled",
    }
    return Answer({"value": [subscription]})
