metadata description = 'The app on Flex Consumption: one identity for everything, no key in any setting.'

@description('Region.')
param location string

@description('Tags of every resource.')
param tags tagsOf

@description('Tags: names and values.')
type tagsOf = {}

@description('Names and values of application settings, kept out of the history of deployments.')
@secure()
type settingsOf = {}

@description('Name of the function app; the plan is named after it.')
param appName string

@description('Name of the identity of the app.')
param appIdentityName string

@description('Name of the storage account.')
param storageAccountName string

@description('Name of the Application Insights component.')
param componentName string

@description('What the app reads: CERTRELAY_* and the settings that these name.')
param appSettings settingsOf

@description('Memory of one instance, in MB.')
@allowed([
  512
  2048
  4096
])
param instanceMemory int

@description('How many instances there are at most.')
@minValue(40)
@maxValue(1000)
param maximumInstances int

@description('How many instances for HTTP always run.')
@minValue(0)
param alwaysReadyInstances int

@description('Id of the subnet of the app. Empty: none.')
param subnetId string

@description('Application (client) id of the registration for sign-in. Empty: callers use function keys.')
param authenticationClientId string

@description('The container of the deployment package; it belongs to this app alone.')
var packageContainer = 'app-package'

@description('Whether App Service authentication guards the app.')
var signIn = !empty(authenticationClientId)

resource appIdentity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: appIdentityName
}

resource storage 'Microsoft.Storage/storageAccounts@2026-04-01' existing = {
  name: storageAccountName
}

resource component 'Microsoft.Insights/components@2020-02-02' existing = {
  name: componentName
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: '${appName}-plan'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource site 'Microsoft.Web/sites@2025-03-01' = {
  name: appName
  location: location
  tags: union(tags, { 'azd-service-name': 'certrelay' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${appIdentity.id}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: 'Enabled'
    keyVaultReferenceIdentity: appIdentity.id
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: appIdentity.id
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemory
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReadyInstances == 0 ? [] : [
          {
            name: 'http'
            instanceCount: alwaysReadyInstances
          }
        ]
        triggers: {
          http: {
            perInstanceConcurrency: 16
          }
        }
      }
    }
    siteConfig: {
      ftpsState: 'Disabled'
      http20Enabled: true
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
    }
  }
}

resource settings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: site
  name: 'appsettings'
  properties: union(appSettings, {
    AzureWebJobsStorage__accountName: storage.name
    AzureWebJobsStorage__blobServiceUri: storage.properties.primaryEndpoints.blob
    AzureWebJobsStorage__queueServiceUri: storage.properties.primaryEndpoints.queue
    AzureWebJobsStorage__tableServiceUri: storage.properties.primaryEndpoints.table
    AzureWebJobsStorage__credential: 'managedidentity'
    AzureWebJobsStorage__clientId: appIdentity.properties.clientId
    AzureWebJobsDisableHomepage: 'true' // the app has its own page at /
    AZURE_CLIENT_ID: appIdentity.properties.clientId
    APPLICATIONINSIGHTS_CONNECTION_STRING: component.properties.ConnectionString
    APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${appIdentity.properties.clientId};Authorization=AAD'
    PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: 'true'
    PYTHON_THREADPOOL_THREAD_COUNT: '32'
    PYDANTIC_DISABLE_PLUGINS: 'true' // none is used; the search for them reads the metadata of every package at each start
    CERTRELAY_APP_SERVICE_AUTHENTICATION: signIn ? 'true' : 'false'
  })
}

resource withoutFtp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'ftp'
  properties: {
    allow: false
  }
}

resource withoutPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'scm'
  properties: {
    allow: false
  }
}

// Always written: a deployment without sign-in turns off what an earlier one turned on. The two switches, this one and
// CERTRELAY_APP_SERVICE_AUTHENTICATION, follow from one parameter; the app refuses to start with the second alone.
resource authentication 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: site
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: signIn
      runtimeVersion: '~1'
    }
    globalValidation: {
      requireAuthentication: signIn
      unauthenticatedClientAction: signIn ? 'RedirectToLoginPage' : 'AllowAnonymous' // programs get 401
      redirectToProvider: 'azureactivedirectory'
      excludedPaths: [
        // Event Grid has no token: it brings the key of the extension, which the host itself demands.
        '/runtime/webhooks/*'
        '/api/health'
      ]
    }
    httpSettings: {
      requireHttps: true
      routes: {
        apiPrefix: '/.auth'
      }
      forwardProxy: {
        convention: 'NoProxy'
      }
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: signIn
        registration: {
          clientId: authenticationClientId
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: signIn ? [
            'api://${authenticationClientId}'
            authenticationClientId
          ] : []
        }
      }
    }
    login: {
      tokenStore: {
        enabled: false
      }
    }
  }
  dependsOn: [
    settings
  ]
}

@description('Name of the app.')
output name string = site.name

@description('Resource id of the app.')
output id string = site.id

@description('Address of the app.')
output url string = 'https://${site.properties.defaultHostName}'
