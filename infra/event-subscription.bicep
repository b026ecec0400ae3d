metadata description = 'The events of one vault: its system topic, and the subscription of the app. Runs in the resource group of the vault.'

@description('Tags of a topic that is made here.')
param tags tagsOf

@description('Tags: names and values.')
type tagsOf = {}

@description('Resource id of the vault.')
param vaultId string

@description('Region of the vault, which its topic shares.')
param location string

@description('Name of the system topic: a vault has one at most.')
param topicName string

@description('Whether the topic exists and belongs to somebody else. It is then left as it is, and needs a system-assigned identity of its own.')
param topicExists bool

@description('Resource id of the function that handles the events.')
param functionId string

@description('Name of the subscription.')
param subscriptionName string

@description('Resource id of the identity for undelivered events. Empty: the topic has a system-assigned one, as a closed storage account demands.')
param eventsIdentityId string

@description('Resource id of the storage account for undelivered events.')
param storageAccountId string

@description('What the app handles; everything else stays away.')
var eventTypes = [
  'Microsoft.KeyVault.CertificateNewVersionCreated'
  'Microsoft.KeyVault.CertificateNearExpiry'
  'Microsoft.KeyVault.CertificateExpired'
]

@description('Whether the topic writes undelivered events with an identity of its own.')
var systemAssigned = topicExists || empty(eventsIdentityId)

resource newTopic 'Microsoft.EventGrid/systemTopics@2025-02-15' = if (!topicExists) {
  name: topicName
  location: location
  tags: tags
  identity: {
    type: systemAssigned ? 'SystemAssigned' : 'UserAssigned'
    userAssignedIdentities: systemAssigned ? null : {
      '${eventsIdentityId}': {}
    }
  }
  properties: {
    source: vaultId
    topicType: 'Microsoft.KeyVault.vaults'
  }
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

module access 'dead-letter-access.bicep' = if (systemAssigned) {
  scope: resourceGroup(split(storageAccountId, '/')[2], split(storageAccountId, '/')[4])
  params: {
    storageAccountName: last(split(storageAccountId, '/'))
    topicId: topic.id
    principalId: topic.identity.principalId
  }
  dependsOn: [
    newTopic
  ]
}

resource eventSubscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: subscriptionName
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    destination: {
      endpointType: 'AzureFunction'
      properties: {
        resourceId: functionId
        maxEventsPerBatch: 1
        preferredBatchSizeInKilobytes: 64
      }
    }
    filter: {
      includedEventTypes: eventTypes
    }
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
    deadLetterWithResourceIdentity: {
      identity: {
        type: systemAssigned ? 'SystemAssigned' : 'UserAssigned'
        userAssignedIdentity: systemAssigned ? null : eventsIdentityId
      }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: storageAccountId
          blobContainerName: 'event-dead-letters'
        }
      }
    }
  }
  dependsOn: [
    newTopic
    access
  ]
}
