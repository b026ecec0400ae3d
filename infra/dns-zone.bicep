metadata description = 'A private DNS zone, and the link that lets a network read it. Runs in the resource group of the zone.'

@description('Tags of every resource.')
param tags tagsOf

@description('Tags: names and values.')
type tagsOf = {}

@description('Name of the zone.')
param zoneName string

@description('Whether the zone exists and belongs to somebody else. It is then left as it is, but for the link.')
param zoneExists bool

@description('Name of the link.')
param linkName string

@description('Id of the network.')
param networkId string

resource newZone 'Microsoft.Network/privateDnsZones@2024-06-01' = if (!zoneExists) {
  name: zoneName
  location: 'global'
  tags: tags
}

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
  dependsOn: [
    newZone
  ]
}
