metadata description = 'A private endpoint, with its records in a DNS zone.'

@description('Region.')
param location string

@description('Tags of every resource.')
param tags tagsOf

@description('Tags: names and values.')
type tagsOf = {}

@description('Name of the endpoint.')
param endpointName string

@description('Id of its subnet.')
param subnetId string

@description('Id of what it leads to.')
param targetId string

@description('What of it: blob, queue, table or vault.')
param service string

@description('Id of the DNS zone for its records.')
param zoneId string

resource endpoint 'Microsoft.Network/privateEndpoints@2025-09-01' = {
  name: endpointName
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: service
        properties: {
          privateLinkServiceId: targetId
          groupIds: [
            service
          ]
        }
      }
    ]
  }
}

resource records 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-09-01' = {
  parent: endpoint
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: service
        properties: {
          privateDnsZoneId: zoneId
        }
      }
    ]
  }
}
