"""The routes of the service itself, and of Key Vault's issuers and contacts."""

from typing import cast

from certrelay_client import request_models as requests
from certrelay_client import response_models as responses
from certrelay_client.routes import Routes
from certrelay_client.transport import at

ISSUERS = "vaults/{vault}/certificates/issuers"
CONTACTS = "vaults/{vault}/certificates/contacts"


class ServiceRoutes(Routes):
    """Vaults, authorities, notifications, messages, and how the service stands."""

    def admin_list_issuers(self, vault: str) -> responses.Listed:
        return cast("responses.Listed", self._json("GET", at(ISSUERS, vault=vault)))

    def admin_get_issuer(self, vault: str, issuer: str) -> responses.Anything:
        return cast("responses.Anything", self._json("GET", at(ISSUERS + "/{issuer}", vault=vault, issuer=issuer)))

    def admin_set_issuer(self, vault: str, issuer: str, body: requests.SetIssuer) -> responses.Anything:
        return cast(
            "responses.Anything", self._json("PUT", at(ISSUERS + "/{issuer}", vault=vault, issuer=issuer), body=body)
        )

    def admin_update_issuer(self, vault: str, issuer: str, body: requests.SetIssuer) -> responses.Anything:
        return cast(
            "responses.Anything", self._json("PATCH", at(ISSUERS + "/{issuer}", vault=vault, issuer=issuer), body=body)
        )

    def admin_delete_issuer(self, vault: str, issuer: str) -> responses.Anything:
        return cast("responses.Anything", self._json("DELETE", at(ISSUERS + "/{issuer}", vault=vault, issuer=issuer)))

    def admin_get_contacts(self, vault: str) -> responses.Contacts:
        return cast("responses.Contacts", self._json("GET", at(CONTACTS, vault=vault)))

    def admin_set_contacts(self, vault: str, body: requests.SetContacts) -> responses.Contacts:
        return cast("responses.Contacts", self._json("PUT", at(CONTACTS, vault=vault), body=body))

    def admin_delete_contacts(self, vault: str) -> responses.Contacts:
        return cast("responses.Contacts", self._json("DELETE", at(CONTACTS, vault=vault)))

    def list_vaults(self) -> responses.Vaults:
        return cast("responses.Vaults", self._json("GET", "vaults"))

    def list_authorities(self) -> responses.Authorities:
        return cast("responses.Authorities", self._json("GET", "authorities"))

    def roll_over_account_key(self, authority: str) -> responses.AccountKey:
        return cast(
            "responses.AccountKey",
            self._json("POST", at("authorities/{authority}/account-key/rollover", authority=authority)),
        )

    def get_dns_persist(
        self, authority: str, *, name: str | None = None, until: str | None = None
    ) -> responses.DnsPersist:
        path, query = at("authorities/{authority}/dns-persist", authority=authority), {"name": name, "until": until}
        return cast("responses.DnsPersist", self._json("GET", path, query=query))

    def get_me(self) -> responses.Me:
        return cast("responses.Me", self._json("GET", "me"))

    def get_status(self) -> responses.Status:
        return cast("responses.Status", self._json("GET", "status"))

    def get_doctor(self) -> responses.Diagnosis:
        return cast("responses.Diagnosis", self._json("GET", "doctor"))

    def list_notification_targets(self) -> responses.NotificationTargets:
        return cast("responses.NotificationTargets", self._json("GET", "notifications"))

    def send_test_notification(self, target: str) -> responses.Delivery:
        return cast("responses.Delivery", self._json("POST", at("notifications/{target}/test", target=target)))

    def list_poison_messages(self) -> responses.PoisonMessages:
        return cast("responses.PoisonMessages", self._json("GET", "poison"))

    def retry_poison_message(self, id: str) -> responses.PoisonMessage:
        return cast("responses.PoisonMessage", self._json("POST", at("poison/{id}/retry", id=id)))

    def drop_poison_message(self, id: str) -> responses.PoisonMessage:
        return cast("responses.PoisonMessage", self._json("DELETE", at("poison/{id}", id=id)))

    def get_health(self) -> responses.Health:
        return cast("responses.Health", self._json("GET", "health"))

    def get_openapi(self) -> responses.Anything:
        return cast("responses.Anything", self._json("GET", "openapi.json"))

    def get_readiness(self) -> responses.Readiness:
        """Also when something is not ready; then `status` says so."""
        return cast("responses.Readiness", self._json("GET", "health/ready", expected=(503,)))
