metadata description = 'Storage: what the app uses exists before it starts. No shared key is accepted.'

@description('Region.')
param location string

@description('Tags of every resource.')
param tags tagsOf

@description('Tags: names and values.')
type tagsOf = {}

@description('Name of the storage account.')
param storageAccountName string

@description('Redundancy, for example Standard_ZRS or, in a region without availability zones, Standard_LRS.')
param sku string

@description('Name of the identity of the app.')
param appIdentityName string

@description('Name of the identity that Event Grid writes undelivered events with.')
param eventsIdentityName string

@description('Whether the account is closed to the public network.')
param privateNetwork bool

@description('For how many days a record of the private CA can be neither changed nor deleted. 0: no such policy.')
@minValue(0)
@maxValue(146000)
param recordsImmutableDays int

@description('For how many days deleted blobs and containers can be recovered.')
var softDeleteDays = 30

@description('Storage Blob Data Owner: the Functions host, its locks and keys, the deployment package.')
var blobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'

@description('Storage Queue Data Contributor.')
var queueDataContributor = '974c5e8b-45b9-4653-ba55-5f855dd0fb88'

@description('Storage Table Data Contributor.')
var tableDataContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'

@description('Storage Blob Data Contributor.')
var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'

// Of the whole account, not queue by queue: the identity is the Functions host's, too. The host needs Blob Data Owner for
// its locks and keys, makes containers and tables of its own while it runs (azure-webjobs-*, AzureFunctionsDiagnosticEvents*),
// and Azure reads the length of each queue with it to start instances. Microsoft asks for these three roles at this scope
// (https://learn.microsoft.com/azure/azure-functions/functions-reference#connecting-to-host-storage-with-an-identity); whether
// less does, only Azure can show. Instead nothing else is in this account, and no key opens it. What the app itself must not
// be able to undo, the records of a private CA, an immutability policy keeps once it is locked: Blob Data Owner may lift
// one that is not.
@description('What the app has on the account.')
var appRoles = [
  blobDataOwner
  queueDataContributor
  tableDataContributor
]

@description('The tables of the app.')
var tables = [
  'operations'
  'history'
  'renewals'
  'limits'
  'replacements'
  'authorities'
  'owners'
  'watch'
  'keys'
]

@description('The queues of the app; the host moves what always fails into the -poison ones.')
var queues = [
  'signing'
  'signing-poison'
  'notifications'
  'notifications-poison'
]

@description('Containers: the package, the host\'s own, undelivered events, the CRL of a private CA.')
var containers = [
  'app-package'
  'azure-webjobs-hosts'
  'azure-webjobs-secrets'
  'event-dead-letters'
  'private-ca-crl'
]

resource appIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: appIdentityName
}

resource eventsIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: eventsIdentityName
}

resource account 'Microsoft.Storage/storageAccounts@2026-04-01' = {
  name: storageAccountName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    isLocalUserEnabled: false
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: 'Enabled'
    supportsHttpsTrafficOnly: true
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: privateNetwork ? 'Deny' : 'Allow'
    }
  }
}

resource blobService 'Microsoft.Storage/storageAccounts/blobServices@2026-04-01' = {
  parent: account
  name: 'default'
  properties: {
    isVersioningEnabled: true
    deleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
  }
}

resource blobContainers 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-04-01' = [for name in containers: {
  parent: blobService
  name: name
  properties: {
    publicAccess: 'None'
  }
}]

resource records 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-04-01' = {
  parent: blobService
  name: 'private-ca'
  properties: {
    publicAccess: 'None'
  }
}

resource recordsPolicy 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2026-04-01' = if (recordsImmutableDays > 0) {
  parent: records
  name: 'default'
  properties: {
    immutabilityPeriodSinceCreationInDays: recordsImmutableDays
    allowProtectedAppendWrites: false
  }
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2026-04-01' = {
  parent: account
  name: 'default'
}

resource appQueues 'Microsoft.Storage/storageAccounts/queueServices/queues@2026-04-01' = [for name in queues: {
  parent: queueService
  name: name
}]

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2026-04-01' = {
  parent: account
  name: 'default'
}

resource appTables 'Microsoft.Storage/storageAccounts/tableServices/tables@2026-04-01' = [for name in tables: {
  parent: tableService
  name: name
}]

resource appAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for role in appRoles: {
  scope: account
  name: guid(account.id, appIdentity.id, role)
  properties: {
    principalId: appIdentity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role)
  }
}]

resource deadLetters 'Microsoft.Storage/storageAccounts/blobServices/containers@2026-04-01' existing = {
  parent: blobService
  name: 'event-dead-letters'
}

resource eventsAccess 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!privateNetwork) {
  scope: deadLetters
  name: guid(deadLetters.id, eventsIdentity.id, blobDataContributor)
  properties: {
    principalId: eventsIdentity.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
  }
  dependsOn: [
    blobContainers
  ]
}
