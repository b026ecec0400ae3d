#!/bin/sh
# Before anything is made: what would fail late, or silently, fails here with the command that mends it.
# Changes nothing but the registration of resource providers. Needs Azure CLI, signed in.
set -eu

fail() {
    echo "preprovision: $*" >&2
    exit 1
}

command -v az >/dev/null || fail "Azure CLI is needed: https://aka.ms/azure-cli"
az account show --output none 2>/dev/null || fail "Azure CLI is not signed in: az login"
az account set --subscription "$AZURE_SUBSCRIPTION_ID"

providers="Microsoft.EventGrid Microsoft.Insights Microsoft.KeyVault Microsoft.OperationalInsights Microsoft.Storage Microsoft.Web"
if [ "${PRIVATE_NETWORK:-false}" = true ]; then
    providers="$providers Microsoft.App Microsoft.Network" # a subnet is delegated to Microsoft.App
fi
for provider in $providers; do
    state=$(az provider show --namespace "$provider" --query registrationState --output tsv)
    if [ "$state" != Registered ]; then
        echo "preprovision: registering $provider"
        az provider register --namespace "$provider" --wait --output none
    fi
done

# A vault on access policies ignores role assignments without any error.
for id in $(printf '%s' "${EXISTING_VAULTS:-}" | tr ',' '\n' | sed -n 's/^[^:]*: *"\([^"]*\)".*/\1/p'); do
    by_roles=$(az resource show --ids "$id" --query properties.enableRbacAuthorization --output tsv) ||
        fail "there is no vault $id, or you may not read it"
    case "$by_roles" in
        true | True) ;;
        *) fail "$id uses access policies. Move it to roles first; this takes the rights of everybody who has no role:
    az keyvault update --ids $id --enable-rbac-authorization true" ;;
    esac
done

# Zones that somebody else keeps: the template links the network to each, and records of the endpoints go into it.
printf '%s\n' "${PRIVATE_DNS_ZONES:-}" | tr ',' '\n' | sed -n 's/^[^"]*"\([^"]*\)" *: *"\([^"]*\)".*/\1 \2/p' |
    while read -r service id; do
        case "$service" in
            blob | queue | table) expected="privatelink.$service." ;;
            vault) expected="privatelink.vaultcore." ;;
            *) fail "PRIVATE_DNS_ZONES: $service is none of blob, queue, table, vault" ;;
        esac
        case "$(printf '%s' "$id" | cut -d/ -f9)" in
            "$expected"*) ;;
            *) fail "PRIVATE_DNS_ZONES: $id is not the zone for $service, whose name begins with $expected" ;;
        esac
        az resource show --ids "$id" --output none || fail "there is no DNS zone $id, or you may not read it"
    done
