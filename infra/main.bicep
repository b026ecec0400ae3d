targetScope = 'subscription'

metadata description = 'CertRelay: a function app, its storage, vaults, monitoring and rights. README.md beside this file explains it.'

@description('A JSON object of any content.')
type jsonObject = {}

@description('The same, kept out of the history of deployments.')
@secure()
type secretObject = {}

@description('Name of the azd environment; a tag of everything, and part of the name of the resource group.')
@minLength(1)
@maxLength(40)
param environmentName string

@description('Region of everything that is made here.')
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('Name of the resource group.')
param resourceGroupName string = 'rg-${environmentName}'

@description('Vaults that exist already, in any resource group: alias and resource id. They must use role-based access control.')
param existingVaults jsonObject = {}

@description('Whether a vault for certificates is made, with the alias "main".')
param createVault bool = empty(existingVaults)

@description('Settings of vaults by alias: authorities, rules, rate, concurrency.')
param vaultSettings jsonObject = {}

@description('The authorities: CERTRELAY_AUTHORITIES. Secrets as "@NAME", see settingsFromVault.')
param authorities secretObject = {}

@description('Who is notified: CERTRELAY_NOTIFICATIONS.')
param notifications secretObject = {}

@description('Who may do what, by vault, authority and name: CERTRELAY_GRANTS. Without it the roles decide.')
#disable-next-line use-user-defined-types // checkov's parser reads no array of a type
param grants array = []

@description('At which servers the app may look whether they serve the newest version: CERTRELAY_ENDPOINTS. Without it at none.')
#disable-next-line use-user-defined-types // checkov's parser reads no array of a type
param endpoints array = []

@description('Application settings that Key Vault resolves: name of the setting, and name of the secret in the vault of the app.')
param settingsFromVault jsonObject = {}

@description('standard, or premium for keys in an HSM.')
@allowed([
  'standard'
  'premium'
])
param vaultSku string = 'standard'

@description('Rights on vaults: custom (two roles of exactly the operations that the app calls), or built-in where custom roles are not allowed.')
@allowed([
  'custom'
  'built-in'
])
param vaultRoles string = 'custom'

@description('When open operations advance: NCRONTAB, UTC.')
param pollSchedule string = '0 * * * * *'

@description('When due certificates are renewed and CRLs published: NCRONTAB, UTC.')
param sweepSchedule string = '0 7 * * * *'

@description('When the daily digest is sent: NCRONTAB, UTC.')
param digestSchedule string = '0 0 6 * * *'

@description('How many renewals one sweep starts at most.')
@minValue(1)
param renewalBatch int = 500

@description('The role of callers with a function key.')
@allowed([
  'Reader'
  'Requester'
  'Operator'
  'Administrator'
])
param functionKeyRole string = 'Administrator'

@description('Application (client) id of the registration that infra/entra.sh makes: callers then sign in with Microsoft Entra ID. Empty: function keys.')
param authenticationClientId string = ''

@description('Who gets a mail for each alert. Empty: nobody.')
param alertMail string = ''

@description('For how many days logs are kept.')
@minValue(30)
@maxValue(730)
param logDays int = 90

@description('For how many days a record of the private CA can be neither changed nor deleted. 0: versions and soft delete only.')
@minValue(0)
@maxValue(146000)
param recordsImmutableDays int = 400

@description('Redundancy of storage: Standard_LRS in a region without availability zones.')
param storageSku string = 'Standard_ZRS'

@description('Whether storage and vaults are reached by private endpoints only.')
param privateNetwork bool = false

@description('Address range of the network.')
param networkAddressPrefix string = '10.71.0.0/24'

@description('Address range of the subnet of the app: a /27 at least, and a /26 to be safe.')
param appSubnetPrefix string = '10.71.0.0/26'

@description('Address range of the subnet of the private endpoints.')
param endpointSubnetPrefix string = '10.71.0.64/26'

@description('Private DNS zones that exist already, in any resource group: blob, queue, table or vault, and resource id. The others are made.')
param privateDnsZones jsonObject = {}

@description('How many instances for HTTP always run.')
@minValue(0)
param alwaysReadyInstances int = 0

@description('Memory of one instance, in MB.')
@allowed([
  512
  2048
  4096
])
param instanceMemory int = 2048

@description('How many instances there are at most; 40 is the least that Azure accepts.')
@minValue(40)
@maxValue(1000)
param maximumInstances int = 40

@description('Part of all names, the same for the same subscription, environment and region.')
var token = uniqueString(subscription().id, environmentName, location)

@description('Tags of everything.')
var tags = {
  'azd-env-name': environmentName
}

@description('Name of the function app.')
var appName = 'certrelay-${token}'

@description('Name of the identity of the app.')
var appIdentityName = 'certrelay-${token}'

@description('Name of the identity for undelivered events.')
var eventsIdentityName = 'certrelay-events-${token}'

@description('Name of the storage account.')
var storageAccountName = 'certrelay${token}'

@description('Name of the Log Analytics workspace.')
var workspaceName = 'certrelay-logs-${token}'

@description('Name of the Application Insights component.')
var componentName = 'certrelay-insights-${token}'

@description('Name of the action group.')
var actionGroupName = 'certrelay-alerts-${token}'

@description('Name of the vault for certificates that is made here.')
var newVaultName = 'kv-cert-${token}'

@description('Name of the vault of the app itself: account keys, and secrets that settings refer to.')
var appVaultName = 'kv-app-${token}'

@description('Where all vault names end.')
var vaultDomain = environment().suffixes.keyvaultDns

@description('Resource id of the vault for certificates that is made here.')
var newVaultId = resourceId(subscription().subscriptionId, resourceGroupName, 'Microsoft.KeyVault/vaults', newVaultName)

@description('Resource id of the vault of the app itself.')
var appVaultId = resourceId(subscription().subscriptionId, resourceGroupName, 'Microsoft.KeyVault/vaults', appVaultName)

@description('All vaults for certificates: alias and resource id.')
var vaults = union(existingVaults, createVault ? { main: newVaultId } : {})

@description('Their resource ids.')
var vaultIds = [for vault in items(vaults): vault.value]

@description('Resource ids of the vaults that exist already.')
var existingVaultIds = [for vault in items(existingVaults): vault.value]

@description('CERTRELAY_VAULTS without what vaultSettings adds, entry by entry.')
var vaultAddresses = [for vault in items(vaults): '"${vault.key}":{"url":"https://${last(split(vault.value, '/'))}${vaultDomain}"}']

@description('Ids of the subscriptions that existing vaults are in.')
var existingSubscriptions = [for vault in items(existingVaults): split(vault.value, '/')[2]]

@description('Ids of the subscriptions that vaults are in, each once.')
var vaultSubscriptions = union([subscription().subscriptionId], existingSubscriptions)

@description('The custom role for certificates.')
var certificatesRole = guid(subscription().id, token, 'certificates')

@description('The custom role for the keys of the app itself.')
var keysRole = guid(subscription().id, token, 'keys')

@description('Key Vault Certificates Officer, which may purge as well.')
var certificatesOfficer = 'a4417e6f-fecd-4de8-b567-7b0420556985'

@description('Key Vault Crypto Officer, which may purge as well.')
var cryptoOfficer = '14b46e9e-c2b7-41b4-b07b-48a6ebf60603'

@description('Key Vault Secrets User, on the vault of the app alone, for the settings that refer to it.')
var secretsUser = '4633458b-17de-408a-b874-0445c86b69e6'

@description('Whether custom roles are made.')
var customRoles = vaultRoles == 'custom'

@description('The role on vaults for certificates.')
var roleForCertificates = customRoles ? certificatesRole : certificatesOfficer

@description('The role on the vault of the app.')
var roleForKeys = customRoles ? keysRole : cryptoOfficer

@description('The settings that Key Vault resolves, entry by entry.')
var vaultReferences = [for setting in items(settingsFromVault): '"${setting.key}":"@Microsoft.KeyVault(SecretUri=https://${appVaultName}${vaultDomain}/secrets/${setting.value})"']

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: resourceGroupName
  location: location
  tags: tags
}

module identities 'identities.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    appIdentityName: appIdentityName
    eventsIdentityName: eventsIdentityName
  }
}

module storage 'storage.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    storageAccountName: storageAccountName
    sku: storageSku
    appIdentityName: appIdentityName
    eventsIdentityName: eventsIdentityName
    privateNetwork: privateNetwork
    recordsImmutableDays: recordsImmutableDays
  }
  dependsOn: [
    identities
  ]
}

module monitoring 'monitoring.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    workspaceName: workspaceName
    componentName: componentName
    actionGroupName: actionGroupName
    alertMail: alertMail
    logDays: logDays
    appIdentityName: appIdentityName
  }
  dependsOn: [
    identities
  ]
}

module roles 'roles.bicep' = if (customRoles) {
  params: {
    certificatesRoleName: certificatesRole
    keysRoleName: keysRole
    label: token
    subscriptionIds: join(vaultSubscriptions, ' ')
  }
}

module newVault 'vault.bicep' = if (createVault) {
  scope: group
  params: {
    location: location
    tags: tags
    vaultName: newVaultName
    sku: vaultSku
    privateNetwork: privateNetwork
    workspaceName: workspaceName
  }
  dependsOn: [
    monitoring
  ]
}

module appVault 'vault.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    vaultName: appVaultName
    sku: vaultSku
    privateNetwork: privateNetwork
    workspaceName: workspaceName
  }
  dependsOn: [
    monitoring
  ]
}

module newVaultAccess 'vault-access.bicep' = if (createVault) {
  scope: group
  params: {
    vaultName: newVaultName
    roleName: roleForCertificates
    appIdentityName: appIdentityName
    identityGroupName: resourceGroupName
    identitySubscriptionId: subscription().subscriptionId
  }
  dependsOn: [
    identities
    newVault
    roles
  ]
}

module existingVaultAccess 'vault-access.bicep' = [for id in existingVaultIds: {
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    vaultName: last(split(id, '/'))
    roleName: roleForCertificates
    appIdentityName: appIdentityName
    identityGroupName: resourceGroupName
    identitySubscriptionId: subscription().subscriptionId
  }
  dependsOn: [
    identities
    roles
  ]
}]

module appVaultAccess 'vault-access.bicep' = {
  scope: group
  params: {
    vaultName: appVaultName
    roleName: roleForKeys
    appIdentityName: appIdentityName
    identityGroupName: resourceGroupName
    identitySubscriptionId: subscription().subscriptionId
  }
  dependsOn: [
    appVault
    identities
    roles
  ]
}

module appVaultSecrets 'vault-access.bicep' = if (!empty(settingsFromVault)) {
  scope: group
  params: {
    vaultName: appVaultName
    roleName: secretsUser
    appIdentityName: appIdentityName
    identityGroupName: resourceGroupName
    identitySubscriptionId: subscription().subscriptionId
  }
  dependsOn: [
    appVault
    identities
  ]
}

module network 'network.bicep' = if (privateNetwork) {
  scope: group
  params: {
    location: location
    tags: tags
    networkName: 'certrelay-net-${token}'
    storageAccountName: storageAccountName
    vaultIds: join(union(vaultIds, [appVaultId]), ' ')
    addressPrefix: networkAddressPrefix
    appSubnetPrefix: appSubnetPrefix
    endpointSubnetPrefix: endpointSubnetPrefix
    existingZones: privateDnsZones
  }
  dependsOn: [
    appVault
    newVault
    storage
  ]
}

module app 'function-app.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    appName: appName
    appIdentityName: appIdentityName
    storageAccountName: storageAccountName
    componentName: componentName
    instanceMemory: instanceMemory
    maximumInstances: maximumInstances
    alwaysReadyInstances: alwaysReadyInstances
    subnetId: privateNetwork ? network!.outputs.appSubnetId : ''
    authenticationClientId: authenticationClientId
    appSettings: union(json('{${join(vaultReferences, ',')}}'), {
      CERTRELAY_VAULTS: string(union(json('{${join(vaultAddresses, ',')}}'), vaultSettings))
      CERTRELAY_AUTHORITIES: string(authorities)
      CERTRELAY_NOTIFICATIONS: string(notifications)
      CERTRELAY_GRANTS: empty(grants) ? '' : string(grants)
      CERTRELAY_ENDPOINTS: empty(endpoints) ? '' : string(endpoints)
      CERTRELAY_POLL_SCHEDULE: pollSchedule
      CERTRELAY_SWEEP_SCHEDULE: sweepSchedule
      CERTRELAY_DIGEST_SCHEDULE: digestSchedule
      CERTRELAY_RENEWAL_BATCH: string(renewalBatch)
      CERTRELAY_FUNCTION_KEY_ROLE: functionKeyRole
    })
  }
  dependsOn: [
    appVaultAccess
    appVaultSecrets
    monitoring
    storage
  ]
}

module alerts 'alerts.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    workspaceName: workspaceName
    actionGroupName: actionGroupName
    appName: appName
  }
  dependsOn: [
    monitoring
  ]
}

@description('Resource group of everything that was made.')
output AZURE_RESOURCE_GROUP string = group.name

@description('Address of the app.')
output CERTRELAY_APP_URL string = app.outputs.url

@description('Name of the app.')
output CERTRELAY_APP_NAME string = app.outputs.name

@description('Resource id of the app.')
output CERTRELAY_APP_ID string = app.outputs.id

@description('Address of the vault of the app, for account keys: account_key_vault_url.')
output CERTRELAY_APP_VAULT_URL string = 'https://${appVaultName}${vaultDomain}'

@description('Resource ids of the vaults with certificates, with spaces between them.')
output CERTRELAY_VAULT_IDS string = join(vaultIds, ' ')

@description('Resource id of the storage account.')
output CERTRELAY_STORAGE_ID string = resourceId(subscription().subscriptionId, resourceGroupName, 'Microsoft.Storage/storageAccounts', storageAccountName)

@description('Resource id of the identity for undelivered events. Empty when storage is closed: topics then have one of their own.')
output CERTRELAY_EVENTS_IDENTITY_ID string = privateNetwork ? '' : resourceId(subscription().subscriptionId, resourceGroupName, 'Microsoft.ManagedIdentity/userAssignedIdentities', eventsIdentityName)

@description('Name of the identity of the app.')
output CERTRELAY_IDENTITY_NAME string = appIdentityName

@description('The address that authorities see. Empty without a network: Azure chooses.')
output CERTRELAY_OUTBOUND_ADDRESS string = privateNetwork ? network!.outputs.outboundAddress : ''
