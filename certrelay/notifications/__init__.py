"""Notifications: events queued in an outbox and delivered to webhooks, Teams and Slack."""
