metadata description = 'Nine alerts on what the app logs and counts; docs/operations.md says what to do about each.'

@description('Region.')
param location string

@description('Tags of every resource.')
param tags tagsOf

@description('Tags: names and values.')
type tagsOf = {}

@description('Name of the Log Analytics workspace.')
param workspaceName string

@description('Name of the action group.')
param actionGroupName string

@description('Name of the function app.')
param appName string

@description('The requests of this app: one row for each function that ran.')
var requests = 'AppRequests | where AppRoleName =~ \'${appName}\''

@description('The log lines of this app.')
var traces = 'AppTraces | where AppRoleName =~ \'${appName}\''

@description('The measurements of this app.')
var metrics = 'AppMetrics | where AppRoleName =~ \'${appName}\''

// A log line comes once, and Azure calls an alert resolved when its window is empty: what lasts is also asked of a gauge.
@description('The rules: severity 1 means that renewals stand still.')
var rules = [
  {
    name: 'no-sweep'
    title: 'No sweep for three hours'
    text: 'Certificates that are due are not renewed.'
    severity: 1
    query: 'union (${requests} and Name == \'sweep_certificates\' and Success == true), (${traces} and Message startswith \'swept \')'
    operator: 'LessThan'
    threshold: 1
    window: 'PT3H'
    frequency: 'PT15M'
  }
  {
    name: 'no-poll'
    title: 'No poll for ten minutes'
    text: 'Open operations do not advance.'
    severity: 1
    query: 'union (${requests} and Name == \'poll_operations\' and Success == true), (${traces} and Message startswith "Executed \'Functions.poll_operations\' (Succeeded")'
    operator: 'LessThan'
    threshold: 1
    window: 'PT10M'
    frequency: 'PT5M'
  }
  {
    name: 'poison-messages'
    title: 'Poison messages'
    text: 'A message failed five times and was set aside.'
    severity: 2
    query: 'union (${requests} and Name == \'fail_operation\'), (${traces} and Message startswith \'poison \' and Message !has \'is over\'), (${metrics} and Name == \'certrelay.poison.messages\' and Max > 0)'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT15M'
    frequency: 'PT5M'
  }
  {
    name: 'operations-failed'
    title: 'Operations failed'
    text: 'A certificate was not created or renewed. Its history says why.'
    severity: 2
    query: '${metrics} and Name == \'certrelay.operations\' and tostring(Properties.result) == \'failed\' and Sum > 0'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT15M'
    frequency: 'PT5M'
  }
  {
    name: 'expiring'
    title: 'A certificate is inside its last sixth'
    text: 'It should have been renewed by now, and expires soon or has expired.'
    severity: 1
    query: 'union (${traces} and (Message startswith \'expiring (\' or Message startswith \'expired (\')), (${metrics} and Name == \'certrelay.renewals.late\' and Max > 0)'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT2H'
    frequency: 'PT15M'
  }
  {
    name: 'vault-unreadable'
    title: 'A vault is unreadable'
    text: 'Nothing in this vault is renewed until the app can read it.'
    severity: 1
    query: 'union (${traces} and (Message startswith \'vault-unreadable \' or Message startswith \'the vault cannot be swept now\') and Message !has \'is over\'), (${metrics} and Name == \'certrelay.incidents\' and tostring(Properties.event) == \'vault-unreadable\' and Max > 0)'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT1H'
    frequency: 'PT15M'
  }
  {
    name: 'authority-down'
    title: 'An authority is down'
    text: 'Its orders wait and are tried again until their deadline.'
    severity: 2
    query: 'union (${traces} and Message startswith \'authority-down \' and Message !has \'is over\'), (${metrics} and Name == \'certrelay.incidents\' and tostring(Properties.event) == \'authority-down\' and Max > 0)'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT15M'
    frequency: 'PT5M'
  }
  {
    name: 'not-deployed'
    title: 'A new version is not deployed'
    text: 'An endpoint still serves another certificate a day after the newest version came into the vault.'
    severity: 2
    query: 'union (${traces} and Message startswith \'not-deployed (\'), (${metrics} and Name == \'certrelay.endpoints\' and tostring(Properties.state) == \'not-deployed\' and Max > 0)'
    operator: 'GreaterThan'
    threshold: 0
    window: 'PT2H'
    frequency: 'PT15M'
  }
  {
    name: 'server-errors'
    title: 'Requests end with 5xx'
    text: 'A defect, or storage or a vault that cannot be reached.'
    severity: 2
    query: '${requests} and ResultCode startswith \'5\''
    operator: 'GreaterThan'
    threshold: 5
    window: 'PT15M'
    frequency: 'PT5M'
  }
]

resource workspace 'Microsoft.OperationalInsights/workspaces@2026-03-01' existing = {
  name: workspaceName
}

resource actionGroup 'Microsoft.Insights/actionGroups@2023-01-01' existing = {
  name: actionGroupName
}

resource alerts 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [for rule in rules: {
  name: '${appName}-${rule.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'CertRelay: ${rule.title}'
    description: '${rule.text} See docs/operations.md.'
    severity: rule.severity
    enabled: true
    scopes: [
      workspace.id
    ]
    evaluationFrequency: rule.frequency
    windowSize: rule.window
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: 'Count'
          operator: rule.operator
          threshold: rule.threshold
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: true
    skipQueryValidation: true // the tables of a new workspace do not exist yet
    actions: {
      actionGroups: [
        actionGroup.id
      ]
    }
  }
}]

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(workspace.id, appName, 'workbook')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'CertRelay (${appName})'
    category: 'workbook'
    version: '1.0'
    sourceId: workspace.id
    serializedData: replace(replace(loadTextContent('workbook.json'), 'WORKSPACE_ID', workspace.id), 'APP_NAME', appName)
  }
}
