metadata description = 'Finds the region of a vault for its topic. Runs in the resource group of the vault.'

@description('Tags of a topic that is made.')
param tags tagsOf

@description('Tags: names and values.')
type tagsOf = {}

@description('Name of the vault.')
param vaultName string

@description('Name of a system topic that the vault has already and that is not ours. Empty: ours.')
param existingTopicName string

@description('Resource id of the function that handles the events.')
param functionId string

@description('Name of the subscription.')
param subscriptionName string

@description('Resource id of the identity for undelivered events. Empty: a system-assigned one.')
param eventsIdentityId string

@description('Resource id of the storage account for undelivered events.')
param storageAccountId string

resource vault 'Microsoft.KeyVault/vaults@2026-02-01' existing = {
  name: vaultName
}

module events 'event-subscription.bicep' = {
  params: {
    tags: tags
    vaultId: vault.id
    location: vault.location
    topicName: empty(existingTopicName) ? '${vaultName}-events' : existingTopicName
    topicExists: !empty(existingTopicName)
    functionId: functionId
    subscriptionName: subscriptionName
    eventsIdentityId: eventsIdentityId
    storageAccountId: storageAccountId
  }
}
