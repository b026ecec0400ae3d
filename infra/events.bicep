targetScope = 'subscription'

metadata description = 'The second deployment, after the code: Event Grid accepts a subscription only to a function that exists.'

@description('Name of the azd environment.')
param environmentName string

@description('Resource ids of the vaults whose events the app handles, with spaces between them.')
param vaultIds string

@description('Vault id in lower case: name of a system topic that it has already and that is not ours.')
param existingTopics topicsOf = {}

@description('Vault ids and topic names.')
type topicsOf = {}

@description('Resource id of the function app.')
param appId string

@description('Resource id of the identity for undelivered events. Empty: each topic has a system-assigned one.')
param eventsIdentityId string

@description('Resource id of the storage account for undelivered events.')
param storageAccountId string

@description('Tags of everything.')
var tags = {
  'azd-env-name': environmentName
}

module events 'vault-events.bicep' = [for id in split(vaultIds, ' '): {
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    tags: tags
    vaultName: last(split(id, '/'))
    existingTopicName: existingTopics[?toLower(id)] ?? ''
    functionId: '${appId}/functions/certificate_events'
    subscriptionName: last(split(appId, '/'))
    eventsIdentityId: eventsIdentityId
    storageAccountId: storageAccountId
  }
}]
