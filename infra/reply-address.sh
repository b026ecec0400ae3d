#!/bin/sh
# Lets browsers sign in: the registration gets the address of the app to come back to, besides those that it has, and an
# ID token for it. entra.sh and postdeploy.sh run it, as often as they like: it changes only what is missing.
#
#     infra/reply-address.sh CLIENT_ID https://APP-HOST
set -eu

client=$1
address=${2%/}/.auth/login/aad/callback
known=$(az ad app show --id "$client" --query "web.redirectUris" --output tsv)
tokens=$(az ad app show --id "$client" --query "web.implicitGrantSettings.enableIdTokenIssuance" --output tsv)

for uri in $known; do
    if [ "$uri" = "$address" ]; then
        case "$tokens" in
            true | True) exit 0 ;;
        esac
        address=""
        break
    fi
done
# The option replaces the whole list.
# shellcheck disable=SC2086 # one argument for each address; none of them has a space
az ad app update --id "$client" --enable-id-token-issuance true --web-redirect-uris $known $address --output none
echo "reply-address: browsers come back to ${2%/}/.auth/login/aad/callback"
