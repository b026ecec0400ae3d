"""The routes of the service itself, and of Key Vault's issuers and contacts."""

from typing import cast

from certrelay_client import request_models as requests
from certrelay_client import response_models as responses
from certrelay_client import service_models
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

    def admin_get_contacts(self, vault: str) -> service_models.Contacts:
        return cast("service_models.Contacts", self._json("GET", at(CONTACTS, vault=vault)))

    def admin_set_contacts(self, vault: str, body: requests.SetContacts) -> service_models.Contacts:
        return cast("service_models.Contacts", self._json("PUT", at(CONTACTS, vault=vault), body=body))

    def admin_delete_contacts(self, vault: str) -> service_models.Contacts:
        return cast("service_models.Contacts", self._json("DELETE", at(CONTACTS, vault=vault)))

    def list_vaults(self) -> service_models.Vaults:
        return cast("service_models.Vaults", self._json("GET", "vaults"))

    def list_authorities(self) -> service_models.Authorities:
        return cast("service_models.Authorities", self._json("GET", "authorities"))

    def roll_over_account_key(self, authority: str) -> service_models.AccountKey:
        return cast(
            "service_models.AccountKey",
            self._json("POST", at("authorities/{authority}/account-key/rollover", authority=authority)),
        )

    def get_dns_persist(
        self, authority: str, *, name: str | None = None, until: str | None = None
    ) -> service_models.DnsPersist:
        path, query = at("authorities/{authority}/dns-persist", authority=authority), {"name": name, "until": until}
        return cast("service_models.DnsPersist", self._json("GET", path, query=query))

    def get_me(self) -> service_models.Me:
        return cast("service_models.Me", self._json("GET", "me"))

    def get_status(self) -> service_models.Status:
        return cast("service_models.Status", self._json("GET", "status"))

    def get_doctor(self) -> service_models.Diagnosis:
        return cast("service_models.Diagnosis", self._json("GET", "doctor"))

    def list_notification_targets(self) -> service_models.NotificationTargets:
        return cast("service_models.NotificationTargets", self._json("GET", "notifications"))

    def send_test_notification(self, target: str) -> service_models.Delivery:
        return cast("service_models.Delivery", self._json("POST", at("notifications/{target}/test", target=target)))

    def list_poison_messages(self) -> service_models.PoisonMessages:
        return cast("service_models.PoisonMessages", self._json("GET", "poison"))

    def retry_poison_message(self, id: str) -> service_models.PoisonMessage:
        return cast("service_models.PoisonMessage", self._json("POST", at("poison/{id}/retry", id=id)))

    def drop_poison_message(self, id: str) -> service_models.PoisonMessage:
        return cast("service_models.PoisonMessage", self._json("DELETE", at("poison/{id}", id=id)))

    def get_health(self) -> service_models.Health:
        return cast("service_models.Health", self._json("GET", "health"))

    def get_openapi(self) -> responses.Anything:
        return cast("responses.Anything", self._json("GET", "openapi.json"))

    def get_readiness(self) -> service_models.Readiness:
        """Also when something is not ready; then `status` says so."""
        return cast("service_models.Readiness", self._json("GET", "health/ready", expected=(503,)))
