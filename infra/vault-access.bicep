metadata description = 'A role of the app on one vault. Runs in the resource group of the vault.'

@description('Name of the vault.')
param vaultName string

@description('Name of the role definition to assign: a GUID.')
param roleName string

@description('Name of the identity of the app.')
param appIdentityName string

@description('Resource group of the identity.')
param identityGroupName string

@description('Subscription of the identity.')
param identitySubscriptionId string

resource appIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: appIdentityName
  scope: resourceGroup(identitySubscriptionId, identityGroupName)
}

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' existing = {
  name: vaultName
}

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, appIdentity.id, roleName)
  properties: {
    principalId: appIdentity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roleName)
  }
}
