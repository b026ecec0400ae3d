targetScope = 'subscription'

metadata description = 'Custom roles: exactly the operations of Key Vault that the app calls. No purge, no secret.'

@description('Name of the custom role for vaults with certificates: a GUID.')
param certificatesRoleName string

@description('Name of the custom role for the vault with the keys of the app itself: a GUID.')
param keysRoleName string

@description('Makes the display names unique in the tenant.')
param label string

@description('Ids of the subscriptions that the vaults are in, with spaces between them.')
param subscriptionIds string

@description('What the app does with certificates, issuers and contacts.')
var certificateActions = [
  'Microsoft.KeyVault/vaults/certificates/read'
  'Microsoft.KeyVault/vaults/certificates/create/action'
  'Microsoft.KeyVault/vaults/certificates/import/action'
  'Microsoft.KeyVault/vaults/certificates/update/action'
  'Microsoft.KeyVault/vaults/certificates/delete'
  'Microsoft.KeyVault/vaults/certificates/recover/action'
  'Microsoft.KeyVault/vaults/certificatecas/read'
  'Microsoft.KeyVault/vaults/certificatecas/write'
  'Microsoft.KeyVault/vaults/certificatecas/delete'
  'Microsoft.KeyVault/vaults/certificatecontacts/write'
]

@description('What the app does with the keys of its accounts at ACME authorities.')
var keyActions = [
  'Microsoft.KeyVault/vaults/keys/read'
  'Microsoft.KeyVault/vaults/keys/create/action'
  'Microsoft.KeyVault/vaults/keys/update/action'
  'Microsoft.KeyVault/vaults/keys/sign/action'
]

@description('The resource ids of the subscriptions.')
var scopes = [for id in split(subscriptionIds, ' '): '/subscriptions/${id}']

resource certificates 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: certificatesRoleName
  properties: {
    roleName: 'CertRelay certificates (${label})'
    description: 'Certificates, issuers and contacts of a vault, without purge and without secrets.'
    type: 'CustomRole'
    assignableScopes: scopes
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: certificateActions
        notDataActions: []
      }
    ]
  }
}

resource keys 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: keysRoleName
  properties: {
    roleName: 'CertRelay account keys (${label})'
    description: 'The keys that sign requests to ACME authorities: create, read, disable, sign.'
    type: 'CustomRole'
    assignableScopes: scopes
    permissions: [
      {
        actions: []
        notActions: []
        dataActions: keyActions
        notDataActions: []
      }
    ]
  }
}
