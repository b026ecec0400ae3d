"""Telling people: events queued in an outbox, delivered to webhooks, Teams and Slack."""
