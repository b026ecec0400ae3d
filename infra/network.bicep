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

@description('The services of the storage account that the app uses.')
var storageServices = [
  'blob'
  'queue'
  'table'
]

@description('The DNS zones of the endpoints of storage, in the same order.')
var storageZones = [for service in storageServices: 'privatelink.${service}.${environment().suffixes.storage}']

@description('The DNS zone of the endpoints of vaults: vaultcore, not vault.')
var vaultZone = 'privatelink.vaultcore${replace(environment().suffixes.keyvaultDns, '.vault', '')}'

@description('All zones.')
var zoneNames = concat(storageZones, [
  vaultZone
])

@description('Position of the zone of vaults among all zones.')
var vaultZoneIndex = length(storageServices)

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

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for name in zoneNames: {
  name: name
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (name, index) in zoneNames: {
  parent: zones[index]
  name: networkName
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: network.id
    }
  }
}]

resource storageEndpoints 'Microsoft.Network/privateEndpoints@2025-09-01' = [for service in storageServices: {
  name: '${networkName}-${service}'
  location: location
  tags: tags
  properties: {
    subnet: {
      id: endpointSubnet.id
    }
    privateLinkServiceConnections: [
      {
        name: service
        properties: {
          privateLinkServiceId: storage.id
          groupIds: [
            service
          ]
        }
      }
    ]
  }
}]

resource storageRecords 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-09-01' = [for (service, index) in storageServices: {
  parent: storageEndpoints[index]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: service
        properties: {
          privateDnsZoneId: zones[index].id
        }
      }
    ]
  }
}]

resource vaultEndpoints 'Microsoft.Network/privateEndpoints@2025-09-01' = [for id in split(vaultIds, ' '): {
  name: '${networkName}-${last(split(id, '/'))}'
  location: location
  tags: tags
  properties: {
    subnet: {
      id: endpointSubnet.id
    }
    privateLinkServiceConnections: [
      {
        name: 'vault'
        properties: {
          privateLinkServiceId: resourceId(split(id, '/')[2], split(id, '/')[4], 'Microsoft.KeyVault/vaults', last(split(id, '/')))
          groupIds: [
            'vault'
          ]
        }
      }
    ]
  }
}]

resource vaultRecords 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-09-01' = [for (id, index) in split(vaultIds, ' '): {
  parent: vaultEndpoints[index]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: 'vault'
        properties: {
          privateDnsZoneId: zones[vaultZoneIndex].id
        }
      }
    ]
  }
}]

@description('Id of the subnet of the app.')
output appSubnetId string = appSubnet.id

@description('The address that authorities see.')
output outboundAddress string = address.properties.ipAddress
