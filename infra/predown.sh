#!/bin/sh
# Before `azd down`: what lies outside the resource group of the app, and would stay. Vaults that existed before stay as
# they are, with their certificates. Whoever answers no to azd's question afterwards gets all of it back by `azd up`.
set -eu

if [ -z "${CERTRELAY_IDENTITY_NAME:-}" ] || [ -z "${AZURE_RESOURCE_GROUP:-}" ]; then
    echo "predown: nothing was deployed"
    exit 0
fi
az account set --subscription "$AZURE_SUBSCRIPTION_ID"
token=${CERTRELAY_IDENTITY_NAME#certrelay-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

lower() { # Azure writes names and ids as somebody has written them once
    printf '%s' "$1" | tr '[:upper:]' '[:lower:]'
}

principal=$(az identity show --resource-group "$AZURE_RESOURCE_GROUP" --name "$CERTRELAY_IDENTITY_NAME" \
    --query principalId --output tsv 2>/dev/null) || principal=""

for id in ${CERTRELAY_VAULT_IDS:-}; do
    subscription=$(printf '%s' "$id" | cut -d/ -f3)
    group=$(printf '%s' "$id" | cut -d/ -f5)
    vault=$(printf '%s' "$id" | cut -d/ -f9)
    [ "$(lower "$subscription/$group")" != "$(lower "$AZURE_SUBSCRIPTION_ID/$AZURE_RESOURCE_GROUP")" ] || continue
    echo "predown: removing the events and the rights on $vault"
    az eventgrid system-topic list --subscription "$subscription" --resource-group "$group" \
        --query "[].[source, name]" --output tsv >"$work/topics" ||
        echo "predown: the topics in $group cannot be read; what is left there has to be removed by hand" >&2
    while IFS="$(printf '\t')" read -r source topic; do
        [ "$(lower "$source")" = "$(lower "$id")" ] || continue
        az eventgrid system-topic event-subscription delete --subscription "$subscription" --resource-group "$group" \
            --system-topic-name "$topic" --name "$CERTRELAY_APP_NAME" --yes --output none </dev/null 2>/dev/null || true
        if [ "$(lower "$topic")" = "$(lower "$vault-events")" ]; then # ours; somebody else's stays
            az eventgrid system-topic delete --subscription "$subscription" --resource-group "$group" --name "$topic" \
                --yes --output none </dev/null
        fi
    done <"$work/topics"
    if [ -n "$principal" ]; then
        az role assignment delete --assignee "$principal" --scope "$id"
    fi
done

for id in $(printf '%s' "${PRIVATE_DNS_ZONES:-}" | tr ',' '\n' | sed -n 's/^[^:]*: *"\([^"]*\)".*/\1/p'); do
    zone=$(printf '%s' "$id" | cut -d/ -f9)
    echo "predown: removing the link of the network to $zone"
    az network private-dns link vnet delete --subscription "$(printf '%s' "$id" | cut -d/ -f3)" \
        --resource-group "$(printf '%s' "$id" | cut -d/ -f5)" --zone-name "$zone" --name "certrelay-net-$token" --yes \
        --output none 2>/dev/null || true
done

for role in "CertRelay certificates ($token)" "CertRelay account keys ($token)"; do
    for assignment in $(az role assignment list --all --role "$role" --query "[].id" --output tsv); do
        az role assignment delete --ids "$assignment"
    done
    az role definition delete --name "$role" --output none 2>/dev/null || true
done
