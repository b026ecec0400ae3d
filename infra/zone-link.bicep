metadata description = 'Lets a network read a private DNS zone. Runs in the resource group of the zone.'

@description('Tags of every resource.')
param tags tagsOf

@description('Tags: names and values.')
type tagsOf = {}

@description('Name of the zone.')
param zoneName string

@description('Name of the link.')
param linkName string

@description('Id of the network.')
param networkId string

resource zone 'Microsoft.Network/privateDnsZones@2024-06-01' existing = {
  name: zoneName
}

resource link 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = {
  parent: zone
  name: linkName
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: networkId
    }
  }
}
