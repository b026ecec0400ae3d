metadata description = 'A network of the app\'s own, with private endpoints of storage and vaults, and one address for outbound calls.'

@description('Region.')
param location string

@description('Tags of every resource.')
param tags tagsOf

@description('Tags: names and values.')
type tagsOf = {}

@description('Name of the virtual network; other names begin with it.')
param networkName string

@description('Name of the storage account.')
param storageAccountName string

@description('Resource ids of the vaults, with spaces between them.')
param vaultIds string

@description('Address range of the network.')
param addressPrefix string

@description('Address range of the subnet of the app.')
param appSubnetPrefix string

@description('Address range of the subnet of the private endpoints.')
param endpointSubnetPrefix string

@description('DNS zones that exist already, in any resource group: blob, queue, table or vault, and resource id. They get a link to the network.')
param existingZones zonesOf

@description('Services and resource ids.')
type zonesOf = {}

@description('The services of the storage account that the app uses.')
var storageServices = [
  'blob'
  'queue'
  'table'
]

@description('The DNS zones of the endpoints, by service; that of vaults is vaultcore, not vault.')
var zoneNames = {
  blob: 'privatelink.blob.${environment().suffixes.storage}'
  queue: 'privatelink.queue.${environment().suffixes.storage}'
  table: 'privatelink.table.${environment().suffixes.storage}'
  vault: 'privatelink.vaultcore${replace(environment().suffixes.keyvaultDns, '.vault', '')}'
}

@description('Resource ids of all zones, by service.')
var zoneIds = union({
  blob: resourceId('Microsoft.Network/privateDnsZones', zoneNames.blob)
  queue: resourceId('Microsoft.Network/privateDnsZones', zoneNames.queue)
  table: resourceId('Microsoft.Network/privateDnsZones', zoneNames.table)
  vault: resourceId('Microsoft.Network/privateDnsZones', zoneNames.vault)
}, existingZones)

resource storage 'Microsoft.Storage/storageAccounts@2026-04-01' existing = {
  name: storageAccountName
}

resource address 'Microsoft.Network/publicIPAddresses@2025-09-01' = {
  name: '${networkName}-outbound'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource gateway 'Microsoft.Network/natGateways@2025-09-01' = {
  name: '${networkName}-outbound'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIpAddresses: [
      {
        id: address.id
      }
    ]
  }
}

resource closed 'Microsoft.Network/networkSecurityGroups@2025-09-01' = {
  name: '${networkName}-endpoints'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'https-from-the-network'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: 'VirtualNetwork'
          destinationPortRange: '443'
        }
      }
      {
        name: 'nothing-else'
        properties: {
          priority: 4096
          direction: 'Inbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2025-09-01' = {
  name: networkName
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        addressPrefix
      ]
    }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: appSubnetPrefix
          defaultOutboundAccess: false
          natGateway: {
            id: gateway.id
          }
          delegations: [
            {
              name: 'flex-consumption'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: endpointSubnetPrefix
          defaultOutboundAccess: false
          networkSecurityGroup: {
            id: closed.id
          }
          privateEndpointNetworkPolicies: 'NetworkSecurityGroupEnabled'
        }
      }
    ]
  }
}

resource appSubnet 'Microsoft.Network/virtualNetworks/subnets@2025-09-01' existing = {
  parent: network
  name: 'app'
}

resource endpointSubnet 'Microsoft.Network/virtualNetworks/subnets@2025-09-01' existing = {
  parent: network
  name: 'endpoints'
}

module zones 'dns-zone.bicep' = [for zone in items(zoneIds): {
  scope: resourceGroup(split(zone.value, '/')[2], split(zone.value, '/')[4])
  params: {
    tags: tags
    zoneName: last(split(zone.value, '/'))
    zoneExists: contains(existingZones, zone.key)
    linkName: networkName
    networkId: network.id
  }
}]

module storageEndpoints 'private-endpoint.bicep' = [for service in storageServices: {
  params: {
    location: location
    tags: tags
    endpointName: '${networkName}-${service}'
    subnetId: endpointSubnet.id
    targetId: storage.id
    service: service
    zoneId: zoneIds[service]
  }
  dependsOn: [
    zones
  ]
}]

module vaultEndpoints 'private-endpoint.bicep' = [for id in split(vaultIds, ' '): {
  params: {
    location: location
    tags: tags
    endpointName: '${networkName}-${last(split(id, '/'))}'
    subnetId: endpointSubnet.id
    targetId: id
    service: 'vault'
    zoneId: zoneIds.vault
  }
  dependsOn: [
    zones
  ]
}]

@description('Id of the subnet of the app.')
output appSubnetId string = appSubnet.id

@description('The address that authorities see.')
output outboundAddress string = address.properties.ipAddress
