#!/bin/sh
# Sign-in with Microsoft Entra ID: the app registration with its four roles, and the address that browsers come back to. May be run again at any time: it finds its
# own registration by the identifier that it noted in the azd environment, else by name, and brings it up to date.
#
#     infra/entra.sh [DISPLAY-NAME]     then: azd up
#
# Needs Azure CLI, signed in as somebody who may register applications. Makes no secret: the app only checks tokens.
set -eu
cd "$(dirname "$0")/.."

name=${1:-certrelay}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "entra: $*" >&2
    exit 1
}

client=""
if command -v azd >/dev/null; then
    client=$(azd env get-value AUTHENTICATION_CLIENT_ID 2>/dev/null) || client=""
fi
if [ -z "$client" ]; then
    az ad app list --display-name "$name" --query "[?displayName=='$name'].appId" --output tsv >"$work/found"
    case $(wc -l <"$work/found" | tr -d ' ') in
        0) client=$(az ad app create --display-name "$name" --sign-in-audience AzureADMyOrg \
            --app-roles @docs/app-roles.json --query appId --output tsv) ;;
        1) client=$(cat "$work/found")
            # Only one that has our roles is ours: a common name may be somebody else's application.
            known=$(az ad app show --id "$client" --query "length(appRoles[?starts_with(value, 'CertRelay.')])" --output tsv)
            [ "$known" -gt 0 ] || fail "there is another application named $name ($client): give a name: infra/entra.sh NAME" ;;
        *) fail "there are several applications named $name: give a name: infra/entra.sh NAME" ;;
    esac
fi

object=$(az ad app show --id "$client" --query id --output tsv)
# Roles that are there with other ids (made by hand) would be in the way: Entra ID says so, and nothing is changed.
az ad app update --id "$client" --identifier-uris "api://$client" --app-roles @docs/app-roles.json
graph=$(az cloud show --query endpoints.microsoftGraphResourceId --output tsv)
# Tokens of version 2 have the issuer that App Service expects.
az rest --method PATCH --url "${graph%/}/v1.0/applications/$object" \
    --body '{"api": {"requestedAccessTokenVersion": 2}}' --output none

# Browsers need an address to come back to. Before the first azd up it is not known yet: the hook postdeploy adds it.
url=${CERTRELAY_APP_URL:-}
if [ -z "$url" ] && command -v azd >/dev/null; then
    url=$(azd env get-value CERTRELAY_APP_URL 2>/dev/null) || url=""
fi
if [ -n "$url" ]; then
    infra/reply-address.sh "$client" "$url"
fi

if ! az ad sp show --id "$client" --output none 2>/dev/null; then
    az ad sp create --id "$client" --output none
fi
az ad sp update --id "$client" --set appRoleAssignmentRequired=true # no role, no token

if command -v azd >/dev/null && azd env set AUTHENTICATION_CLIENT_ID "$client" 2>/dev/null; then
    echo "entra: AUTHENTICATION_CLIENT_ID=$client is in the azd environment; now run: azd up"
else
    echo "entra: give the template authenticationClientId=$client"
fi
echo "entra: assign the roles to people and applications as docs/sign-in.md says"
