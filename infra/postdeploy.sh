#!/bin/sh
# After the code: remove stray keys, connect Event Grid, and see whether the app is well. May be run again at any time.
# Needs Azure CLI, signed in, and the values of the azd environment (azd gives them to hooks; by hand: see README.md).
set -eu
cd "$(dirname "$0")"

fail() {
    echo "postdeploy: $*" >&2
    exit 1
}

lower() {
    printf '%s' "$1" | tr '[:upper:]' '[:lower:]'
}

for name in AZURE_ENV_NAME AZURE_LOCATION AZURE_SUBSCRIPTION_ID AZURE_RESOURCE_GROUP CERTRELAY_APP_NAME CERTRELAY_APP_ID \
    CERTRELAY_APP_URL CERTRELAY_VAULT_IDS CERTRELAY_STORAGE_ID; do
    eval "value=\${$name:-}"
    [ -n "$value" ] || fail "$name is not set; run it as a hook: azd hooks run postdeploy"
done
az account set --subscription "$AZURE_SUBSCRIPTION_ID"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Some ways of deployment bring these back. The account accepts no key, so they would stop the app.
for name in AzureWebJobsStorage DEPLOYMENT_STORAGE_CONNECTION_STRING; do
    found=$(az functionapp config appsettings list --resource-group "$AZURE_RESOURCE_GROUP" --name "$CERTRELAY_APP_NAME" \
        --query "[?name=='$name'].name" --output tsv)
    if [ -n "$found" ]; then
        echo "postdeploy: deleting the setting $name"
        az functionapp config appsettings delete --resource-group "$AZURE_RESOURCE_GROUP" --name "$CERTRELAY_APP_NAME" \
            --setting-names "$name" --output none
    fi
done

echo "postdeploy: waiting until Azure knows the function certificate_events"
tries=0
until az functionapp function show --resource-group "$AZURE_RESOURCE_GROUP" --name "$CERTRELAY_APP_NAME" \
    --function-name certificate_events --output none 2>"$work/reason"; do
    tries=$((tries + 1))
    if [ "$tries" -ge 40 ]; then
        cat "$work/reason" >&2
        fail "Azure does not show the function after ten minutes. 'Log stream' of $CERTRELAY_APP_NAME in the portal says why
the app does not start; settings that are wrong are named there. Then run: azd hooks run postdeploy"
    fi
    sleep 15
done

# A vault has one system topic at most. One that is somebody else's is used as it is.
existing=""
for id in $CERTRELAY_VAULT_IDS; do
    subscription=$(printf '%s' "$id" | cut -d/ -f3)
    group=$(printf '%s' "$id" | cut -d/ -f5)
    vault=$(printf '%s' "$id" | cut -d/ -f9)
    az eventgrid system-topic list --subscription "$subscription" --output tsv \
        --query "[].[source, name, resourceGroup, identity.type || 'None']" >"$work/topics"
    while IFS="$(printf '\t')" read -r source topic place identity; do
        [ "$(lower "$source")" = "$(lower "$id")" ] || continue
        [ "$(lower "$topic")" != "$(lower "$vault-events")" ] || continue
        [ "$(lower "$place")" = "$(lower "$group")" ] ||
            fail "the system topic $topic of $vault is in the resource group $place; it must be in $group, where the vault is"
        case "$identity" in
            *SystemAssigned*) ;;
            *) fail "the system topic $topic of $vault needs a system-assigned identity, for events that cannot be delivered:
    az eventgrid system-topic update --subscription $subscription --resource-group $place --name $topic --identity SystemAssigned" ;;
        esac
        echo "postdeploy: $vault keeps its system topic $topic"
        existing="$existing${existing:+, }\"$(lower "$id")\": \"$topic\""
    done <"$work/topics"
done

cat >"$work/parameters.json" <<JSON
{
  "\$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#",
  "contentVersion": "1.0.0.0",
  "parameters": {
    "environmentName": { "value": "$AZURE_ENV_NAME" },
    "vaultIds": { "value": "$CERTRELAY_VAULT_IDS" },
    "existingTopics": { "value": {$existing} },
    "appId": { "value": "$CERTRELAY_APP_ID" },
    "eventsIdentityId": { "value": "${CERTRELAY_EVENTS_IDENTITY_ID:-}" },
    "storageAccountId": { "value": "$CERTRELAY_STORAGE_ID" }
  }
}
JSON
echo "postdeploy: connecting Event Grid"
az deployment sub create --name "certrelay-events-$AZURE_ENV_NAME" --location "$AZURE_LOCATION" \
    --template-file events.bicep --parameters "@$work/parameters.json" --output none

if [ -n "${AUTHENTICATION_CLIENT_ID:-}" ]; then
    ./reply-address.sh "$AUTHENTICATION_CLIENT_ID" "$CERTRELAY_APP_URL" ||
        echo "postdeploy: browsers cannot sign in yet. Somebody who may change the registration runs:
    infra/reply-address.sh $AUTHENTICATION_CLIENT_ID $CERTRELAY_APP_URL" >&2
fi

# Rights that were just given take some minutes to work; the app answers 503 and says what is missing until then.
echo "postdeploy: asking $CERTRELAY_APP_URL whether it is well"
if [ -n "${AUTHENTICATION_CLIENT_ID:-}" ]; then
    path=/api/health # the rest needs a person's token
    : >"$work/header"
else
    path=/api/health/ready
    key=$(az functionapp keys list --resource-group "$AZURE_RESOURCE_GROUP" --name "$CERTRELAY_APP_NAME" \
        --query functionKeys.default --output tsv)
    (umask 077 && printf 'header = "x-functions-key: %s"\n' "$key" >"$work/header")
fi
tries=0
until curl --silent --show-error --fail-with-body --max-time 60 --config "$work/header" \
    "$CERTRELAY_APP_URL$path" >"$work/answer" 2>"$work/reason"; do
    tries=$((tries + 1))
    if [ "$tries" -ge 40 ]; then
        cat "$work/reason" "$work/answer" >&2
        fail "the app is not well after ten minutes; its answer above says what is missing. Then run: azd hooks run postdeploy"
    fi
    sleep 15
done
cat "$work/answer"
echo
echo "postdeploy: done. How to order a certificate: docs/api.md"
